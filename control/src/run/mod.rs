//! `switchd run`: docker run, for any program on this machine.
//!
//! The command's process is made first (`child`, `inside`) and waits in its namespace while
//! its switch is found (`switch`) or brought up (`private`), attached and told its ports.
//! Then it becomes the command, and switchd stays with it (`signals`) until it ends. Whatever
//! was made is taken back in reverse, also when a step in between fails.
//!
//! Exit codes: the command's own, 128+n if signal n ended it, 127 if it was not found and 126 if
//! it could not be run, 2 for wrong words, 1 for what the system refused.

mod attach;
mod child;
mod inside;
mod private;
mod signals;
mod spec;
mod switch;

pub use attach::{AttachArgs, attach};
pub use inside::{InsideArgs, inside};

use crate::netns::{Netns, create_named, delete_named};
use crate::plan::validate::Surroundings;
use crate::plan::{AttachSpec, Failure};
use crate::resolv;
use child::{Child, NotStarted};
use private::Wishes;
use signals::Signals;
use spec::Published;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use switch::Switch;

/// What `switchd run` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Publish a port: [HOST_IP:]PORT[-END]:CONTAINER_PORT[-END][/tcp|udp]; repeated.
    // The help shows these words as they are.
    #[allow(rustdoc::broken_intra_doc_links)]
    #[arg(short = 'p', long = "publish", value_name = "SPEC")]
    pub publish: Vec<String>,
    /// bridge: a namespace of its own behind the switch; host: this one, and no switch.
    #[arg(long, value_enum, default_value_t = Net::Bridge)]
    pub net: Net,
    /// Keep the namespace under this name (/run/netns) while the command runs.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The command's address [the next free one].
    #[arg(long, value_name = "ADDRESS", value_parser = crate::plan::spec::scalar::address)]
    pub ip: Option<Ipv4Addr>,
    /// Control socket of the daemon to attach to; without one a private switch is brought up.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// The command's network.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Net {
    /// A namespace of its own, attached to a switch.
    Bridge,
    /// The caller's namespace.
    Host,
}

const PROGRAM: &str = "switchd";

/// Runs the command and stays with it until it ends.
pub fn run(args: &Args) -> ExitCode {
    let published = match check(args) {
        Ok(published) => published,
        Err(e) => return e.report(PROGRAM),
    };
    if args.net == Net::Host {
        return host(args);
    }
    match bridged(args, &published) {
        Ok(code) => ExitCode::from(code),
        Err(NotStarted::Exec(code, why)) => {
            let _ = Failure::Refused(why).report(PROGRAM);
            ExitCode::from(code)
        }
        Err(NotStarted::Failed(e)) => e.report(PROGRAM),
        Err(NotStarted::Killed(signal)) => ExitCode::from(signals::killed(signal)),
    }
}

/// What can be said about the words alone.
fn check(args: &Args) -> Result<Vec<Published>, Failure> {
    let published = published(&args.publish)?;
    if args.net == Net::Host && (args.ip.is_some() || args.name.is_some()) {
        return Err(Failure::usage(
            "--ip and --name need a namespace: leave --net host out",
        ));
    }
    with_ip("pid:1".to_owned(), args.ip)?;
    // The switch reads these words: they may not mean more than a name to it.
    if let Some(name) = &args.name {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !name.chars().all(plain)
            || name.len() > 64
        {
            return Err(Failure::Usage(format!(
                "--name: '{name}' is no name: at most 64 letters, digits, '_', '.' and '-', the \
                 first a letter or digit"
            )));
        }
    }
    Ok(published)
}

/// The ports of all `-p`.
fn published(words: &[String]) -> Result<Vec<Published>, Failure> {
    let of = |text: &String| Published::parse(text).map_err(|e| Failure::Usage(format!("-p: {e}")));
    let published: Vec<Published> = words.iter().map(of).collect::<Result<_, _>>()?;
    for (i, new) in published.iter().enumerate() {
        if let Some(old) = published.iter().take(i).find(|old| old.overlaps(new)) {
            return Err(Failure::Usage(format!(
                "-p: {new} and {old} have a host port in common: it can be published once"
            )));
        }
    }
    Ok(published)
}

/// The host's network is the caller's: there is nothing to do but to become the command.
fn host(args: &Args) -> ExitCode {
    if !args.publish.is_empty() {
        note("-p does nothing with --net host: the command listens on the host");
    }
    let Some((program, rest)) = args.command.split_first() else {
        return ExitCode::from(2);
    };
    let e = inside::execute(program, rest);
    let (code, why) = match e.raw_os_error() {
        Some(libc::ENOENT) => (127, "command not found".to_owned()),
        Some(n) => (126, nix::errno::Errno::from_raw(n).desc().to_owned()),
        None => (126, e.to_string()),
    };
    let _ = Failure::Refused(format!("{}: {why}", program.display())).report(PROGRAM);
    ExitCode::from(code)
}

fn bridged(args: &Args, published: &[Published]) -> Result<u8, NotStarted> {
    let own = Netns::current()
        .map_err(|e| NotStarted::Failed(Failure::refused(e)))?
        .id();
    let signals = Signals::take().map_err(|e| {
        NotStarted::Failed(Failure::Refused(format!(
            "cannot take the signals over: {e}"
        )))
    })?;
    // Dropped in reverse: first the ports, then the interface, then the switch, then the name.
    let name = args.name.as_deref().map(Named::make).transpose()?;
    // An ordinary user is root of a namespace of his own.
    let ordinary = !nix::unistd::geteuid().is_root();
    let mut child = Child::spawn(&args.command, args.name.as_deref(), ordinary)?;

    let control = match &args.control {
        Some(path) => Some(path.clone()),
        None => Surroundings::current().control().ok(),
    };
    let daemon = control.and_then(|path| switch::running(&path, own));
    let (private, backend);
    let switch: &dyn Switch = match &daemon {
        Some(client) => client,
        None => {
            private = private::start(&Wishes::default())?;
            backend = private.backend();
            &backend
        }
    };
    let spec = match &args.name {
        Some(name) => name.clone(),
        None => format!("pid:{}", child.pid()),
    };
    let made = Made::attach(switch, &with_ip(spec, args.ip)?, published)?;

    let file = switch.dns().and_then(resolv::by_gateway);
    let resolv = match resolv::choose() {
        resolv::Choice::Keep => None,
        _ if file.is_some() => file.as_ref().map(resolv::OwnFile::path),
        resolv::Choice::Replace(file) => Some(file),
        resolv::Choice::None => {
            note(&format!(
                "{} names no server that the command can reach (one on 127.0.0.0/8 is \
                 the host's alone); it is left as it is",
                resolv::FILE
            ));
            None
        }
    };
    child.start(resolv);
    let code = signals.accompany(child.pid());
    let ended = child.ended();
    drop(made);
    drop(name);
    ended.map(|()| code)
}

/// The words of `--attach`, checked as those.
fn with_ip(mut spec: String, ip: Option<Ipv4Addr>) -> Result<String, Failure> {
    if let Some(ip) = ip {
        spec.push_str(&format!(":{ip}"));
    }
    let _: AttachSpec = spec
        .parse()
        .map_err(|e| Failure::Usage(format!("--ip: {e}")))?;
    Ok(spec)
}

impl From<Failure> for NotStarted {
    fn from(e: Failure) -> NotStarted {
        NotStarted::Failed(e)
    }
}

/// A namespace's name under /run/netns, for as long as this lives.
struct Named(String);

impl Named {
    fn make(name: &str) -> Result<Named, Failure> {
        create_named(name).map_err(Failure::refused)?;
        Ok(Named(name.to_owned()))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        report(delete_named(&self.0).map_err(Failure::refused));
    }
}

/// An attached command with its published ports. Dropped, all of it is taken back.
struct Made<'a> {
    switch: &'a dyn Switch,
    port: String,
    published: Vec<u32>,
}

impl<'a> Made<'a> {
    fn attach(
        switch: &'a dyn Switch,
        spec: &str,
        published: &[Published],
    ) -> Result<Made<'a>, Failure> {
        let port = switch.attach(spec)?;
        let mut made = Made {
            switch,
            port: port.name,
            published: Vec::new(),
        };
        for p in published {
            let ip = port
                .ip
                .ok_or_else(|| Failure::refused("the switch gave no address"))?;
            made.published.push(switch.publish(&p.to(ip))?.id);
        }
        Ok(made)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for id in self.published.drain(..).rev() {
            report(self.switch.unpublish(id));
        }
        report(self.switch.detach(&self.port));
    }
}

/// One line on stderr, if anybody reads it.
fn note(line: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{PROGRAM}: {line}\n"));
}

/// What can't be taken back is told; the rest goes on.
fn report(result: Result<(), Failure>) {
    if let Err(e) = result {
        let _ = e.report(PROGRAM);
    }
}

#[cfg(test)]
mod tests;
