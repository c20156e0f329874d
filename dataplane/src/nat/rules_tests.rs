use super::*;
use crate::nat::ChainCounters;
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const EXT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const EXT2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const C1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const C2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

fn tcp(first: u16, last: u16, ip: Ipv4Addr, port: u16) -> Publication {
    Publication {
        proto: Proto::TCP,
        host_ip: None,
        first,
        last,
        ip,
        port,
    }
}

fn on(host: Ipv4Addr, p: Publication) -> Publication {
    Publication {
        host_ip: Some(host),
        ..p
    }
}

#[test]
fn a_range_maps_in_step_and_only_its_protocol() {
    let r = Rules::new();
    let id = r.publish(tcp(5000, 5100, C1, 80)).unwrap();
    assert_eq!(id, RuleId(1));
    let m = r.lookup(Proto::TCP, EXT, 5100).unwrap();
    assert_eq!((m.rule, m.to, m.to_port), (id, C1, 180));
    assert_eq!(r.lookup(Proto::TCP, EXT, 4999), None);
    assert_eq!(r.lookup(Proto::TCP, EXT, 5101), None);
    assert_eq!(r.lookup(Proto::UDP, EXT, 5000), None);
    assert_eq!(r.lookup(Proto::ICMP, EXT, 5000), None);
    assert!(r.published(Proto::TCP, 5000) && !r.published(Proto::UDP, 5000));
    assert!(!r.published(Proto::ICMP, 5000));
    assert_eq!(r.by_target(Proto::TCP, C1, 81), Some((id, 5001)));
    assert_eq!(r.by_target(Proto::TCP, C1, 181), None);
    assert_eq!(r.by_target(Proto::TCP, C2, 81), None);
}

#[test]
fn refuses_what_is_no_publication() {
    let r = Rules::new();
    for bad in [
        tcp(0, 5, C1, 1),
        tcp(5, 4, C1, 1),
        tcp(5, 5, C1, 0),
        tcp(1, 10, C1, 65_527),
    ] {
        let refused = r.publish(bad);
        assert_eq!(refused, Err(PublishError::Range(bad)));
        // What was refused can be said, too.
        assert!(refused.unwrap_err().to_string().contains("1 to 65535"));
    }
    r.publish(tcp(1, 10, C1, 65_526)).unwrap();
    let icmp = Publication {
        proto: Proto::ICMP,
        ..tcp(5, 5, C1, 5)
    };
    assert_eq!(r.publish(icmp), Err(PublishError::Protocol(1)));
    assert_eq!(r.report().len(), 1);
}

#[test]
fn overlap_is_by_protocol_port_and_address() {
    let r = Rules::new();
    let old = tcp(5000, 5010, C1, 5000);
    r.publish(old).unwrap();
    for new in [
        tcp(5010, 5010, C2, 1),
        tcp(4000, 6000, C2, 1),
        on(EXT, tcp(5005, 5005, C2, 1)),
    ] {
        assert_eq!(r.publish(new), Err(PublishError::Overlap { new, old }));
    }
    r.publish(Publication {
        proto: Proto::UDP,
        ..old
    })
    .unwrap();
    let a = r.publish(on(EXT, tcp(80, 80, C1, 80))).unwrap();
    let b = r.publish(on(EXT2, tcp(80, 80, C2, 80))).unwrap();
    assert!(matches!(
        r.publish(tcp(1, 100, C1, 1)),
        Err(PublishError::Overlap { .. })
    ));
    assert_eq!(r.lookup(Proto::TCP, EXT, 80).unwrap().rule, a);
    assert_eq!(r.lookup(Proto::TCP, EXT2, 80).unwrap().rule, b);
    assert_eq!(r.lookup(Proto::TCP, C1, 80), None);
    r.unpublish(a);
    assert!(r.published(Proto::TCP, 80), "still on the other address");
    r.unpublish(b);
    assert!(!r.published(Proto::TCP, 80));
    r.publish(tcp(80, 80, C1, 80)).unwrap();
}

#[test]
fn ids_are_not_reused_and_counters_survive_other_changes() {
    let r = Rules::new();
    let a = r.publish(tcp(1000, 1000, C1, 1)).unwrap();
    let (at_a, at_b) = ((Proto::TCP, EXT, 1000), (Proto::TCP, EXT, 2000));
    assert!(r.count(at_a, a, 60, false));
    let b = r.publish(tcp(2000, 2000, C1, 2)).unwrap();
    assert!(r.count(at_a, a, 40, true));
    assert_eq!(r.unpublish(b), Some(tcp(2000, 2000, C1, 2)));
    assert_eq!(r.unpublish(b), None);
    assert!(!r.count(at_a, b, 1, true));
    assert_eq!(r.lookup(Proto::TCP, EXT, 2000), None);
    assert!(!r.count(at_b, b, 1, false));
    assert_eq!(r.publish(tcp(2000, 2000, C1, 2)), Ok(RuleId(3)));
    let report = r.report();
    assert_eq!((report[0].dnat, report[0].masquerade), ((2, 100), (1, 40)));
    assert_eq!((report[1].id, report[1].dnat), (RuleId(3), (0, 0)));
}

#[test]
fn a_younger_rule_for_the_same_container_port_comes_to_light() {
    let r = Rules::new();
    let a = r.publish(tcp(1000, 1999, C1, 100)).unwrap();
    let b = r.publish(tcp(3000, 3010, C1, 150)).unwrap();
    assert_eq!(r.by_target(Proto::TCP, C1, 155), Some((a, 1055)));
    r.unpublish(a);
    assert_eq!(r.by_target(Proto::TCP, C1, 155), Some((b, 3005)));
    assert_eq!(r.by_target(Proto::TCP, C1, 149), None);
}

#[test]
fn chains_report() {
    let (r, c) = (Rules::new(), ChainCounters::default());
    r.publish(tcp(1, 1, C1, 1)).unwrap();
    c.prerouting.add(60);
    c.postrouting.add(52);
    c.postrouting.add(48);
    c.masquerade.add(48);
    let report = c.report(&r);
    assert_eq!((report.prerouting, report.postrouting), ((1, 60), (2, 100)));
    assert_eq!((report.masquerade, report.input), ((1, 48), (0, 0)));
    assert_eq!(report.rules.len(), 1);
}

/// What must not come back: seconds for some hundred ports. The bounds are wide, for a debug
/// build on a busy machine; the benches have the narrow ones.
#[test]
fn publishing_many_ports_is_cheap() {
    let r = Rules::new();
    let begin = Instant::now();
    r.publish(tcp(5000, 64_999, C1, 5000)).unwrap();
    for p in 1000..1206 {
        r.publish(tcp(p, p, C2, p)).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(r.report().len(), 207);
}

#[test]
fn readers_see_whole_rules_while_others_change() {
    let r = Rules::new();
    r.publish(tcp(7000, 7999, C1, 7000)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Relaxed) {
                    let m = r.lookup(Proto::TCP, EXT, 7500).unwrap();
                    assert_eq!((m.to, m.to_port), (C1, 7500));
                    if let Some(m) = r.lookup(Proto::TCP, EXT, 9000) {
                        assert_eq!((m.to, m.to_port), (C2, 9));
                    }
                }
            });
        }
        for _ in 0..300 {
            let id = r.publish(tcp(9000, 9000, C2, 9)).unwrap();
            r.unpublish(id).unwrap();
        }
        stop.store(true, Relaxed);
    });
}

fn some_publication() -> impl Strategy<Value = Publication> {
    (
        any::<bool>(),
        0..3u8,
        1u16..400,
        0u16..60,
        0..2u8,
        1u16..200,
    )
        .prop_map(|(udp, host, first, n, c, port)| Publication {
            proto: if udp { Proto::UDP } else { Proto::TCP },
            host_ip: [None, Some(EXT), Some(EXT2)][usize::from(host)],
            first,
            last: first + n,
            ip: [C1, C2][usize::from(c)],
            port,
        })
}

proptest! {
    #[test]
    fn agrees_with_a_list_of_rules(
        steps in proptest::collection::vec((some_publication(), any::<bool>()), 1..40),
    ) {
        let r = Rules::new();
        let mut list: Vec<(RuleId, Publication)> = Vec::new();
        for (p, withdraw) in steps {
            let clash = list.iter().any(|(_, q)| {
                q.proto == p.proto
                    && (q.host_ip == p.host_ip || q.host_ip.is_none() || p.host_ip.is_none())
                    && q.first <= p.last
                    && p.first <= q.last
            });
            match r.publish(p) {
                Ok(id) => {
                    prop_assert!(!clash);
                    list.push((id, p));
                }
                Err(_) => prop_assert!(clash),
            }
            if withdraw && !list.is_empty() {
                let (id, p) = list.remove(usize::from(p.port) % list.len());
                prop_assert_eq!(r.unpublish(id), Some(p));
            }
        }
        for proto in [Proto::TCP, Proto::UDP] {
            for port in 0..500u16 {
                let taker = |ip| list.iter().find(|(_, q)| {
                    q.proto == proto
                        && q.host_ip.is_none_or(|h| Some(h) == ip || ip.is_none())
                        && (q.first..=q.last).contains(&port)
                });
                for ip in [EXT, EXT2, C1] {
                    let want = taker(Some(ip)).map(|(id, q)| Match {
                        rule: *id,
                        to: q.ip,
                        to_port: q.port + (port - q.first),
                    });
                    prop_assert_eq!(r.lookup(proto, ip, port), want);
                }
                prop_assert_eq!(r.published(proto, port), taker(None).is_some());
                for ip in [C1, C2] {
                    let want = list.iter().find(|(_, q)| {
                        (q.proto, q.ip) == (proto, ip)
                            && (q.port..=q.port + (q.last - q.first)).contains(&port)
                    });
                    let want = want.map(|(id, q)| (*id, q.first + (port - q.port)));
                    prop_assert_eq!(r.by_target(proto, ip, port), want);
                }
            }
        }
    }
}
