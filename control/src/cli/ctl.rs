//! `switchctl`: its command line, and what each command asks of the API.
// Doc comments here are the help as people read it: brackets are what may be left out.
#![allow(rustdoc::broken_intra_doc_links)]

use crate::api::Client;
use crate::api::client::ClientError;
use crate::api::types::{
    AttachRequest, Connection, FdbEntry, Neighbour, Port, Publication, PublishRequest, Rules,
    Stats, Status,
};
use crate::plan::Failure;
use crate::plan::validate::Surroundings;
use crate::render::{conntrack, fdb, neigh, rules, summary};
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Talks to a running switchd over its control socket.
#[derive(Parser, Debug)]
#[command(name = "switchctl", version, max_term_width = 100)]
pub struct Switchctl {
    /// The daemon's control socket [/run/switchd/switchd.sock, or under $XDG_RUNTIME_DIR when
    /// not root].
    #[arg(long, value_name = "PATH", global = true)]
    pub control: Option<PathBuf>,
    /// Print the API's JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be asked of a daemon.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// What the daemon is and how it does.
    Status,
    /// The switch's ports with their counters.
    Ports,
    /// Attach a namespace: NETNS[:IP][,name=eth0][,mac=..].
    Attach {
        /// The namespace, a name, a path or pid:N, and what its interface is to be.
        #[arg(value_name = "NETNS[:IP][,..]")]
        spec: String,
    },
    /// Detach a namespace, named as it was attached, or by its address.
    Detach {
        /// Namespace, INTERFACE@NAMESPACE or address.
        #[arg(value_name = "NAME|IP")]
        port: String,
    },
    /// Publish a port: [HOST_IP:]PORT[-END]:CONTAINER_IP:PORT[-END][/tcp|udp].
    Publish {
        /// The port and where it leads.
        spec: String,
    },
    /// Withdraw a published port; its connections end at once.
    Unpublish {
        /// The port as it was published, or its id.
        #[arg(value_name = "SPEC|ID")]
        which: String,
    },
    /// The forwarding database, as `bridge fdb`.
    Fdb,
    /// The neighbours, as `ip neigh`.
    Neigh,
    /// The rules and their counters, as `iptables -t nat -L -n -v`.
    Rules,
    /// The tracked connections, as `conntrack -L`.
    Conntrack,
    /// Every counter, with the reasons for loss in words.
    Stats,
}

/// What a command prints.
struct Output {
    /// On stdout.
    text: String,
    /// On stderr, after it.
    closing: Option<String>,
}

/// Asks the daemon and prints its answer.
///
/// # Errors
/// No daemon, or its refusal.
pub fn run(args: &Switchctl) -> Result<(), Failure> {
    let path = match &args.control {
        Some(p) => p.clone(),
        None => Surroundings::current().control()?,
    };
    let out = ask(&Client::new(path), &args.command, args.json)?;
    print(&out).map_err(|e| Failure::Refused(format!("cannot write the answer: {e}")))
}

fn ask(client: &Client, command: &Command, json: bool) -> Result<Output, Failure> {
    let shown = match command {
        Command::Status => {
            let status: Status = client.get("/v1/status")?;
            if json {
                return pretty(&status);
            }
            let published: Vec<Publication> = client.get("/v1/publications")?;
            summary::status(&status, &published)
        }
        Command::Ports => show(client.get::<Vec<Port>>("/v1/ports"), json, |p| {
            summary::ports(p)
        })?,
        Command::Attach { spec } => {
            let spec = absolute(spec);
            let port = client.post::<Port>("/v1/ports", &AttachRequest { spec });
            show(port, json, |p| {
                let ip = p.ip.map_or_else(String::new, |ip| format!(" {ip}"));
                format!("{}{ip} {}\n", p.name, p.mac)
            })?
        }
        Command::Detach { port } => {
            let gone = client.delete::<Port>("/v1/ports", port);
            show(gone, json, |p| format!("{}\n", p.name))?
        }
        Command::Publish { spec } => {
            let spec = spec.clone();
            let made = client.post::<Publication>("/v1/publications", &PublishRequest { spec });
            show(made, json, published)?
        }
        Command::Unpublish { which } => {
            let gone = client.delete::<Publication>("/v1/publications", which);
            show(gone, json, published)?
        }
        Command::Fdb => show(client.get::<Vec<FdbEntry>>("/v1/fdb"), json, |e| {
            fdb::render(e)
        })?,
        Command::Neigh => show(client.get::<Vec<Neighbour>>("/v1/neigh"), json, |n| {
            neigh::render(n)
        })?,
        Command::Rules => show(client.get::<Rules>("/v1/rules"), json, rules::render)?,
        Command::Conntrack => {
            let all: Vec<Connection> = client.get("/v1/conntrack")?;
            if json {
                return pretty(&all);
            }
            return Ok(Output {
                text: conntrack::render(&all),
                closing: Some(conntrack::closing(all.len())),
            });
        }
        Command::Stats => show(client.get::<Stats>("/v1/stats"), json, summary::stats)?,
    };
    Ok(Output {
        text: shown,
        closing: None,
    })
}

fn published(p: &Publication) -> String {
    format!("{}\n", summary::publication(p))
}

/// The answer as text, or as the API's JSON.
fn show<T: Serialize>(
    answer: Result<T, ClientError>,
    json: bool,
    text: impl FnOnce(&T) -> String,
) -> Result<String, Failure> {
    let answer = answer?;
    match json {
        true => pretty(&answer).map(|o| o.text),
        false => Ok(text(&answer)),
    }
}

fn pretty<T: Serialize>(t: &T) -> Result<Output, Failure> {
    let mut text = serde_json::to_string_pretty(t).map_err(Failure::refused)?;
    text.push('\n');
    Ok(Output {
        text,
        closing: None,
    })
}

/// The daemon has another working directory: a relative path of a namespace is made whole here.
fn absolute(spec: &str) -> String {
    let end = spec.find([':', ',']).unwrap_or(spec.len());
    let (netns, rest) = spec.split_at_checked(end).unwrap_or((spec, ""));
    if !netns.contains('/') || netns.starts_with('/') {
        return spec.to_owned();
    }
    match std::path::absolute(Path::new(netns)) {
        Ok(p) => format!("{}{rest}", p.display()),
        Err(_) => spec.to_owned(),
    }
}

/// Writes the answer. A reader that has seen enough (`| head`) is no failure.
fn print(out: &Output) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(out.text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
        other => other?,
    }
    if let Some(line) = &out.closing {
        // A closed stderr hides a courtesy, no more.
        let _ = writeln!(io::stderr(), "{line}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake::Fake;
    use crate::api::{Backend, ControlSocket, Server};
    use std::sync::Arc;

    fn words(line: &str) -> Switchctl {
        Switchctl::try_parse_from(std::iter::once("switchctl").chain(line.split(' '))).unwrap()
    }

    #[test]
    fn every_command_asks_and_shows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let fake = Arc::new(Fake::default());
        let _server = Server::start(ControlSocket::bind(&path).unwrap(), fake.clone()).unwrap();
        let client = Client::new(&path);
        let ask = |line: &str| {
            let w = words(line);
            super::ask(&client, &w.command, w.json).unwrap().text
        };
        for (line, part) in [
            ("status", "bridge      sw0 10.0.0.1"),
            ("ports", "eth0@web"),
            ("attach web:10.0.0.2", "eth0@web 10.0.0.2 02:42:0a:00:00:02"),
            ("detach web", "eth0@web"),
            (
                "publish 5000:10.0.0.2:5000",
                "7 10.0.0.9:5000:10.0.0.2:5000/tcp",
            ),
            ("unpublish 7", "7 10.0.0.9:5000"),
            ("fdb", "02:42:0a:00:00:02 dev eth0@web master sw0"),
            ("neigh", "10.0.0.2 dev sw0 lladdr"),
            ("rules", "Chain DOCKER"),
            ("conntrack", "tcp      6 0 ESTABLISHED"),
            ("stats", "balanced"),
        ] {
            let text = ask(line);
            assert!(text.contains(part), "{line}: {text}");
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{line}");
            // With --json, before or after: the API's own words.
            let json = ask(&format!("{line} --json"));
            assert_eq!(json, ask(&format!("--json {line}")));
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
        let json: Vec<Port> = serde_json::from_str(&ask("ports --json")).unwrap();
        assert_eq!(json, fake.ports());
        let heard = fake.heard.lock().unwrap();
        assert_eq!(heard.first().unwrap(), "web:10.0.0.2");
        assert_eq!(heard.last().unwrap(), "7");
    }

    #[test]
    fn without_a_daemon_one_line_says_which_socket_and_what_to_do() {
        let w = words("--control /nonexistent/s.sock fdb");
        let e = run(&w).unwrap_err();
        assert_eq!(e.code(), 1);
        let text = e.to_string();
        for part in ["/nonexistent/s.sock", "start switchd", "--control PATH"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains('\n'));
    }

    #[test]
    fn relative_paths_are_made_whole() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            absolute("ns/web:10.0.0.2,name=x"),
            format!("{}/ns/web:10.0.0.2,name=x", here.display())
        );
        for same in ["web:10.0.0.2", "/proc/7/ns/net", "pid:7:10.0.0.2", "web"] {
            assert_eq!(absolute(same), same);
        }
    }
}
