//! Bulk by the real iperf3, for those who trust no other.

use super::{Job, Outcome};
use crate::Result;
use control::netns::Netns;
use serde::Deserialize;
use std::net::SocketAddrV4;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How to get it.
pub const INSTALL: &str = "apt-get install iperf3";
/// How long the server may take to listen.
const COMING_UP: Duration = Duration::from_secs(60);

/// Whether iperf3 can do this job.
pub const fn can(job: Job) -> bool {
    matches!(job, Job::Bulk(_) | Job::Flood(_))
}

/// Its version, if it is installed.
pub fn version() -> Option<String> {
    let out = Command::new("iperf3").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().next().map(str::to_owned)
}

/// The words of the client's command line.
fn client_words(job: Job, at: SocketAddrV4, time: Duration, cc: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> = [
        "-c",
        &at.ip().to_string(),
        "-p",
        &at.port().to_string(),
        "-J",
    ]
    .map(str::to_owned)
    .to_vec();
    // It counts in whole seconds.
    let seconds = time.as_secs_f64().ceil().max(1.0);
    words.extend(["-t".to_owned(), seconds.to_string()]);
    match job {
        Job::Flood(size) => {
            words.extend(["-u", "-b", "0", "-l", &size.to_string()].map(str::to_owned))
        }
        Job::Bulk(streams) => {
            words.extend(["-P".to_owned(), streams.to_string()]);
            words.extend(cc.iter().flat_map(|cc| ["-C".to_owned(), (*cc).to_owned()]));
        }
        _ => {}
    }
    words
}

/// Ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a job to its end, `time` rounded up to whole seconds.
///
/// # Errors
/// What iperf3 says, or that it can't be started.
pub fn run(
    job: Job,
    (client, server, at): (&Netns, &Netns, SocketAddrV4),
    time: Duration,
    cc: Option<&str>,
) -> Result<Outcome> {
    let port = at.port().to_string();
    let _server = Server(server.run(|| {
        Command::new("iperf3")
            .args(["-s", "-1", "-p", &port])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    })??);
    wait_for_listener(server, at.port())?;
    let words = client_words(job, at, time, cc);
    let out = client.run(|| {
        Command::new("iperf3")
            .args(&words)
            .stdin(Stdio::null())
            .output()
    })??;
    parse(job, &String::from_utf8_lossy(&out.stdout))
}

/// Looks at the namespace's table of sockets: a connection made to find out would be the one that
/// `-1` serves.
fn wait_for_listener(server: &Netns, port: u16) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < COMING_UP {
        let listens = server.run(|| {
            ["tcp", "tcp6"].iter().any(|t| {
                let path = format!("/proc/thread-self/net/{t}");
                std::fs::read_to_string(path).is_ok_and(|table| is_listening(&table, port))
            })
        })?;
        if listens {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("iperf3 does not listen".into())
}

/// Whether a table of TCP sockets (proc_pid_net(5)) has a listener (state 0A) on this port.
fn is_listening(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("0A")
    })
}

#[derive(Deserialize)]
struct Report {
    error: Option<String>,
    #[serde(default)]
    end: End,
}

#[derive(Deserialize, Default)]
struct End {
    sum: Option<Sum>,
    sum_sent: Option<Sum>,
    sum_received: Option<Sum>,
}

#[derive(Deserialize, Clone, Copy)]
struct Sum {
    seconds: f64,
    bytes: u64,
    packets: Option<u64>,
    lost_packets: Option<u64>,
}

/// What a report (`-J`) says. TCP counts in bytes, UDP in datagrams.
fn parse(job: Job, text: &str) -> Result<Outcome> {
    let report: Report = serde_json::from_str(text).map_err(|e| format!("iperf3's report: {e}"))?;
    if let Some(e) = report.error {
        return Err(format!("iperf3: {e}").into());
    }
    let lacks = |what: &str| format!("iperf3's report has no {what}");
    let end = report.end;
    let (sent, arrived, seconds) = match job {
        Job::Flood(_) => {
            // Before 3.11 there was one sum, made by the receiver.
            let sent = end.sum_sent.or(end.sum).ok_or_else(|| lacks("end.sum"))?;
            let got = end
                .sum_received
                .or(end.sum)
                .ok_or_else(|| lacks("end.sum"))?;
            let packets = got.packets.ok_or_else(|| lacks("packets"))?;
            let lost = got.lost_packets.ok_or_else(|| lacks("lost_packets"))?;
            let arrived = packets.saturating_sub(lost);
            (sent.packets.unwrap_or(packets), arrived, got.seconds)
        }
        _ => {
            let sent = end.sum_sent.ok_or_else(|| lacks("end.sum_sent"))?;
            let got = end.sum_received.ok_or_else(|| lacks("end.sum_received"))?;
            (sent.bytes, got.bytes, got.seconds)
        }
    };
    Ok(Outcome {
        rate: arrived as f64 / seconds.max(1e-9),
        sent,
        arrived,
        latency: None,
        beside: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_reports_count_what_was_received() {
        let text = r#"{"start":{},"end":{
            "sum_sent":{"start":0,"end":1.0,"seconds":1.0,"bytes":1334312960,"retransmits":14},
            "sum_received":{"start":0,"end":2.0,"seconds":2.0,"bytes":1327235072}}}"#;
        let o = parse(Job::Bulk(2), text).unwrap();
        assert_eq!((o.sent, o.arrived), (1_334_312_960, 1_327_235_072));
        assert_eq!(o.rate, 663_617_536.0);
    }

    #[test]
    fn udp_reports_count_datagrams_less_the_lost() {
        let text = r#"{"end":{
            "sum":{"seconds":1.0,"bytes":6046720,"lost_packets":34035,"packets":94480},
            "sum_sent":{"seconds":1.0,"bytes":6046720,"lost_packets":0,"packets":94480},
            "sum_received":{"seconds":1.0,"bytes":3866496,"lost_packets":34035,"packets":94449}}}"#;
        let o = parse(Job::Flood(64), text).unwrap();
        assert_eq!((o.sent, o.arrived, o.rate), (94_480, 60_414, 60_414.0));
        let old = r#"{"end":{"sum":{"seconds":2.0,"bytes":1,"lost_packets":10,"packets":50}}}"#;
        let o = parse(Job::Flood(64), old).unwrap();
        assert_eq!((o.sent, o.arrived, o.rate), (50, 40, 20.0));
    }

    #[test]
    fn failures_are_named() {
        let says = |text| parse(Job::Bulk(1), text).unwrap_err().to_string();
        assert_eq!(
            says(r#"{"end":{},"error":"unable to connect to server"}"#),
            "iperf3: unable to connect to server"
        );
        assert_eq!(says(r#"{"end":{}}"#), "iperf3's report has no end.sum_sent");
        assert!(says("").starts_with("iperf3's report: "));
    }

    #[test]
    fn the_words_fit_the_job() {
        let at = "10.0.0.2:5000".parse().unwrap();
        let words = |job, ms, cc| client_words(job, at, Duration::from_millis(ms), cc).join(" ");
        assert_eq!(
            words(Job::Bulk(4), 2_500, Some("reno")),
            "-c 10.0.0.2 -p 5000 -J -t 3 -P 4 -C reno"
        );
        assert_eq!(
            words(Job::Bulk(1), 1_000, None),
            "-c 10.0.0.2 -p 5000 -J -t 1 -P 1"
        );
        assert_eq!(
            words(Job::Flood(64), 100, Some("reno")),
            "-c 10.0.0.2 -p 5000 -J -t 1 -u -b 0 -l 64"
        );
    }

    #[test]
    fn listeners_are_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                     0: 00000000:1388 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100007F:1389 0100007F:1388 01 00000000:00000000\n";
        assert!(is_listening(table, 5000));
        assert!(!is_listening(table, 5001));
        assert!(!is_listening("", 5000));
    }
}
