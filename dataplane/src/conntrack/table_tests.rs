use super::*;
use crate::base::{Proto, Tuple};
use crate::conntrack::state;
use crate::flow::Zone;
use std::net::Ipv4Addr;

const NOW: Tick = Tick(1_000);

fn table() -> Conntrack {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    Conntrack::new(limits, &Timeouts::default(), Keyed::with_key([1, 2, 3]), 1)
}

fn new(sport: u16, mapped: u16) -> New {
    let orig = Tuple {
        src: Ipv4Addr::new(10, 0, 0, 2),
        dst: Ipv4Addr::new(192, 0, 2, 2),
        sport,
        dport: 53,
        proto: Proto::UDP,
    };
    let out = Tuple {
        src: Ipv4Addr::new(192, 0, 2, 1),
        sport: mapped,
        ..orig
    };
    New {
        orig: FlowKey::new(Zone::Inside, &orig),
        reply: FlowKey::new(Zone::Uplink, &out.reversed()),
        worker: 0,
        ingress: PortId(1),
        rule: RuleId::NONE,
        mapped_port: Some(mapped),
        flags: 0,
    }
}

fn make(ct: &Conntrack, sport: u16, mapped: u16) -> Result<RecordId, Refused> {
    ct.create(&new(sport, mapped), NOW, |_| Ok(state::UDP))
}

#[test]
fn a_connection_is_made_once_and_forgotten_once() {
    let ct = table();
    assert!(ct.is_empty());
    let id = make(&ct, 1, 1_001).unwrap();
    assert_eq!(make(&ct, 1, 1_001), Err(Refused::Exists));
    assert_eq!(make(&ct, 2, 1_001), Err(Refused::Drop(Reason::NatClash)));
    assert_eq!(ct.list(NOW).len(), 1);
    let removed = ct.remove(id).unwrap();
    assert_eq!(removed.orig, new(1, 1_001).orig.tuple());
    assert_eq!(removed.mapped_port, Some(1_001));
    assert_eq!((ct.remove(id), ct.remove(999)), (None, None));
    assert!(ct.is_empty() && ct.list(NOW).is_empty());
}

/// Each way to refuse leaves nothing behind: as many connections fit as before.
#[test]
fn a_refusal_leaves_nothing() {
    let ct = table();
    let why = ct.create(&new(1, 1_001), NOW, |_| Err(Reason::TcpMalformed));
    assert_eq!(why, Err(Refused::Drop(Reason::TcpMalformed)));
    // Buckets that are full: of the original key, then of the reply key alone.
    for key in [new(1, 1_001).orig, new(1, 1_001).reply] {
        let hash = ct.index.hash(&key);
        let mut taken = 0;
        while ct.index.insert(hash, 1_000 + taken, Dir::Orig).is_ok() {
            taken += 1;
        }
        assert!(taken > 0);
        assert_eq!(
            make(&ct, 1, 1_001),
            Err(Refused::Drop(Reason::ConntrackFull))
        );
        for n in 0..taken {
            assert!(ct.index.remove(hash, 1_000 + n, Dir::Orig));
        }
        assert!(ct.find(&new(1, 1_001).orig, NOW).is_none());
    }
    for n in 0..4 {
        make(&ct, n, 1_000 + n).unwrap();
    }
    assert_eq!(
        make(&ct, 9, 1_009),
        Err(Refused::Drop(Reason::ConntrackFull))
    );
}
