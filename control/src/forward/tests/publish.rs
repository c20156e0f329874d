//! Binding, refusals and taking back.

use super::*;

/// `count` neighbouring ports of `proto` that were free a moment ago.
fn free_range(count: u16) -> u16 {
    for first in (20_000..60_000)
        .step_by(usize::from(count) + 37)
        .skip(std::process::id() as usize % 300)
    {
        let all: Vec<_> = (first..first + count)
            .map(|p| TcpListener::bind((HOST, p)))
            .collect();
        if all.iter().all(Result::is_ok) {
            return first;
        }
    }
    panic!("no free range");
}

fn range(first: u16, last: u16, port: u16) -> Publication {
    Publication {
        proto: Proto::TCP,
        host_ip: Some(HOST),
        first,
        last,
        ip: CONTAINER,
        port,
    }
}

#[test]
fn each_port_of_a_range_leads_to_its_own() {
    let relay = relay(RelayConfig::default());
    let inside = free_range(3);
    let listeners: Vec<_> = (inside..inside + 3)
        .map(|p| TcpListener::bind((CONTAINER, p)).unwrap())
        .collect();
    let first = free_range(3);
    let id = relay.publish(&range(first, first + 2, inside)).unwrap();
    assert_eq!(relay.stats().listeners, 3);
    for (i, listener) in (0..).zip(&listeners) {
        let client = connect(first + i);
        let (stream, _) = listener.accept().unwrap();
        send_all(&client, 6, 100);
        expect_all(&stream, 6, 100);
    }
    assert!(relay.unpublish(id));
    assert_eq!(relay.stats().listeners, 0);
}

#[test]
fn a_taken_port_in_a_range_is_named_and_nothing_stays_bound() {
    let relay = relay(RelayConfig::default());
    let first = free_range(8);
    let taken = TcpListener::bind((HOST, first + 6)).unwrap();
    let refused = relay.publish(&range(first, first + 7, 80)).unwrap_err();
    let said = refused.to_string();
    assert_eq!(
        said,
        format!(
            "127.0.0.1:{}/tcp is taken by another program on this host",
            first + 6
        )
    );
    assert_eq!(relay.stats().listeners, 0);
    drop(taken);
    for port in first..first + 8 {
        drop(TcpListener::bind((HOST, port)).unwrap());
    }
    relay.publish(&range(first, first + 7, 80)).unwrap();
}

#[test]
fn a_range_beyond_the_descriptors_is_refused() {
    let relay = relay(RelayConfig::default());
    let limit = limits::raise();
    if limit > 64_600 {
        eprintln!("SKIPPED: the descriptor limit {limit} allows every range");
        return;
    }
    let refused = relay.publish(&range(1_024, 65_535, 1_024)).unwrap_err();
    assert!(
        matches!(refused, ForwardError::Descriptors { need: 64_512, .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().contains(&format!("of at most {limit}")),
        "{refused}"
    );
}

#[test]
fn what_cannot_be_relayed_is_refused() {
    let relay = Relay::start(None, Ipv4Addr::new(10, 9, 8, 1), RelayConfig::default()).unwrap();
    let good = Publication {
        ip: Ipv4Addr::new(10, 9, 8, 2),
        ..range(40_000, 40_001, 80)
    };
    let bad = |p: Publication| relay.publish(&p).unwrap_err();
    assert!(matches!(
        bad(Publication { first: 0, ..good }),
        ForwardError::Unfit(_)
    ));
    assert!(matches!(
        bad(Publication {
            last: 39_999,
            ..good
        }),
        ForwardError::Unfit(_)
    ));
    assert!(matches!(
        bad(Publication {
            port: 65_535,
            ..good
        }),
        ForwardError::Unfit(_)
    ));
    assert!(matches!(
        bad(Publication {
            proto: Proto::ICMP,
            ..good
        }),
        ForwardError::Unfit(_)
    ));
    let host = |ip| bad(Publication { ip, ..good });
    assert!(matches!(host(HOST), ForwardError::HostAddress(_)));
    assert!(matches!(
        host(Ipv4Addr::new(127, 1, 2, 3)),
        ForwardError::HostAddress(_)
    ));
    assert!(matches!(
        host(Ipv4Addr::new(10, 9, 8, 1)),
        ForwardError::HostAddress(_)
    ));
    assert!(matches!(
        host(Ipv4Addr::UNSPECIFIED),
        ForwardError::HostAddress(_)
    ));
    let foreign = Publication {
        host_ip: Some(Ipv4Addr::new(192, 0, 2, 9)),
        ..good
    };
    assert!(matches!(bad(foreign), ForwardError::NoAddress { .. }));
}

#[test]
fn unpublishing_ends_listeners_and_connections() {
    let relay = relay(RelayConfig::default());
    let (listener, id, port) = server(&relay);
    let (other, _, other_port) = server(&relay);
    let mut client = connect(port);
    let (mut inside, _) = listener.accept().unwrap();
    let kept = connect(other_port);
    let (kept_inside, _) = other.accept().unwrap();
    assert!(relay.unpublish(id));
    assert_eq!(relay.stats().connections, 1);
    assert!(is_reset(client.read(&mut [0; 8])));
    assert!(is_reset(inside.read(&mut [0; 8])));
    let refused = TcpStream::connect((HOST, port)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert!(!relay.unpublish(id), "it is gone already");
    send_all(&kept, 7, 1_000);
    expect_all(&kept_inside, 7, 1_000);
}

#[test]
fn dropping_the_relay_ends_everything() {
    let relay = relay(RelayConfig::default());
    let (listener, _, port) = server(&relay);
    let mut client = connect(port);
    let _inside = listener.accept().unwrap();
    drop(relay);
    assert_ne!(client.read(&mut [0; 8]).unwrap_or(0), 8);
    assert!(TcpStream::connect((HOST, port)).is_err());
}

/// The sockets are made in the namespace that was given, not in the caller's.
#[test]
fn the_relay_lives_in_the_namespace_it_is_given() {
    let inside = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
    });
    let ns = match inside.join().unwrap() {
        Ok(ns) => ns,
        Err(e) => {
            assert!(
                std::env::var("CI").is_err(),
                "no network namespace to be had: {e}"
            );
            eprintln!("SKIPPED: no network namespace to be had: {e}");
            return;
        }
    };
    let relay = Relay::start(
        Some(ns.try_clone().unwrap()),
        GATEWAY,
        RelayConfig::default(),
    )
    .unwrap();
    let taken_here = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken_here.local_addr().unwrap().port();
    let p = Publication {
        host_ip: None,
        ..range(port, port, 80)
    };
    relay.publish(&p).unwrap();
    let there = std::thread::spawn(move || {
        enter(&ns).unwrap();
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            .unwrap_err()
            .kind()
    });
    assert_eq!(there.join().unwrap(), io::ErrorKind::AddrInUse);
}
