//! Real TCP (smoltcp) through the whole switch in virtual time: bridged, by a published port,
//! masqueraded and by hairpin, on good wires and on bad ones.

use dataplane::base::Reason;
use dataplane::port::fault::FaultConfig;
use std::time::Duration;
use switchd_tests::memory::config;
use switchd_tests::memory::net::{Net, NetConfig, every_way};

const GOOD: NetConfig = NetConfig {
    seed: 1,
    workers: 1,
    offload: false,
    faults: None,
};

const BAD_WIRE: FaultConfig = FaultConfig {
    seed: 0,
    loss: 200,
    duplicate: 200,
    reorder: 500,
    reorder_by: Duration::from_millis(3),
    corrupt: 100,
    delay: Duration::from_micros(300),
};

const MINUTES: Duration = Duration::from_secs(1_200);

#[test]
fn thousands_of_connections_and_every_byte_arrives() {
    let mut net = Net::new(config(), GOOD);
    for batch in 0..20u16 {
        let flows = every_way(200, 10_000 + batch * 200, (300, 700));
        net.transfer(&flows, MINUTES);
        net.balance();
    }
    // Three of four are tracked, and nothing was lost on the way.
    let sw = net.sw.switch();
    let rules = sw.rules.report();
    assert_eq!(
        rules[0].dnat.0, 2_000,
        "1,000 from outside and 1,000 by hairpin"
    );
    assert_eq!(rules[0].masquerade.0, 1_000);
    assert_eq!(sw.chains.masquerade.get().0, 1_000);
    assert_eq!(net.sw.totals().dropped(), 0, "{:?}", net.sw.totals());
    net.expire();
}

#[test]
fn bad_wires_lose_no_byte_and_the_same_seed_gives_the_same_frames() {
    let run = |seed| {
        let mut net = Net::new(
            config(),
            NetConfig {
                seed,
                faults: Some(BAD_WIRE),
                ..GOOD
            },
        );
        net.transfer(&every_way(40, 20_000, (9_000, 12_000)), MINUTES);
        let wires = net.hosts.iter().flat_map(|h| {
            let (inbound, outbound) = h.faults();
            [inbound, outbound].map(|w| w.expect("a wire").counts())
        });
        let [lost, twice, late, damaged] = wires.fold([0; 4], |s, c| {
            [
                s[0] + c.lost,
                s[1] + c.duplicated,
                s[2] + c.reordered,
                s[3] + c.corrupted,
            ]
        });
        assert!(lost > 20 && twice > 20 && late > 50 && damaged > 10);
        net.expire();
        (net.digest(), net.now, net.sw.totals())
    };
    let (first, second) = (run(1), run(1));
    assert_eq!(first, second, "a clock was read, or something random");
    assert_ne!(first.0, run(2).0);
    assert!(first.2.drops(Reason::Ipv4Checksum) > 0, "damaged headers");
}

#[test]
fn superframes_through_mixed_ports_and_two_workers_at_random() {
    for faults in [None, Some(BAD_WIRE)] {
        let mut net = Net::new(
            config(),
            NetConfig {
                seed: 5,
                workers: 2,
                offload: true,
                faults,
            },
        );
        net.transfer(&every_way(24, 30_000, (40_000, 60_000)), MINUTES);
        let t = net.sw.totals();
        assert!(t.segments > 100, "software segmentation had work: {t:?}");
        let both = net.sw.switch().counters.iter().filter(|c| c.rx.get() > 100);
        assert_eq!(both.count(), 2);
        net.expire();
    }
}
