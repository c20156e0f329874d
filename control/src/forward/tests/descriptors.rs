//! A relay that runs out of descriptors. It needs a process of its own: the limit is the
//! process's, and other tests run beside this one.

use super::*;
use std::io::{BufRead, BufReader};
use std::process::{Command as Process, Stdio};

const ROLE: &str = "RELAY_TEST_TARGET";

/// The other process: a relay whose limit is reached after a few connections.
#[test]
#[ignore = "started by a_relay_without_descriptors_waits"]
fn starved_relay() {
    let Ok(target) = std::env::var(ROLE) else {
        return;
    };
    let relay = relay(RelayConfig {
        max_pipes: 0,
        ..RelayConfig::default()
    });
    let (_, port) = publish(&relay, target.parse().unwrap());
    let room = Some(limits::open_now() as u64 + 20);
    let limit = rustix::process::Rlimit {
        current: room,
        maximum: room,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    println!("\nPORT {port}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let stats = relay.stats();
    println!("\nSTATS {} {}", stats.connections, stats.pauses);
    std::io::stdin().read_line(&mut line).unwrap();
}

/// CPU time that a process used, in clock ticks (proc(5), fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_relay_without_descriptors_waits() {
    let listener = TcpListener::bind((CONTAINER, 0)).unwrap();
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "forward::tests::descriptors::starved_relay",
        ])
        .env(ROLE, listener.local_addr().unwrap().port().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = |word: &str| -> Vec<u64> {
        let mut lines = said.by_ref().map(Result::unwrap);
        let line = lines.find(|l| l.starts_with(word)).unwrap();
        line.split(' ')
            .skip(1)
            .map(|n| n.parse().unwrap())
            .collect()
    };
    let port = answer("PORT")[0] as u16;
    let count = 40;
    let mut clients: Vec<_> = (0..count).map(|_| connect(port)).collect();
    std::thread::sleep(Duration::from_millis(300));
    let before = ticks(child.id());
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks(child.id()) - before < 30, "it waits busily");
    let mut orders = child.stdin.take().unwrap();
    orders.write_all(b"\n").unwrap();
    let stats = answer("STATS");
    assert!(
        (5..=10).contains(&stats[0]),
        "{} connections with 20 descriptors",
        stats[0]
    );
    assert!(stats[1] > 0, "accepting never paused");
    // As connections end the others get their turn, and none is lost.
    let mut served = 0;
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    while served < count {
        assert!(start.elapsed() < PATIENCE, "{served} served");
        while let Ok((mut stream, _)) = listener.accept() {
            stream.write_all(b"!").unwrap();
        }
        clients.retain_mut(|client| {
            client
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            match client.read(&mut [0; 1]) {
                Ok(n) => served += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) => panic!("{served} served, then {e}"),
            }
            false
        });
    }
    drop(orders);
    assert!(child.wait().unwrap().success());
}
