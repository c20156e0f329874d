//! Two workers in threads of their own, and changes of control beside them: what no model of a
//! few steps can hold. Any order of events is a right one, so only what holds in each is asserted.

use dataplane::base::counters::Totals;
use dataplane::base::{Instant, PortId, Proto, Reason, Role, RuleId, Tuple};
use dataplane::frame::{Batch, L4, VnetHdr};
use dataplane::nat::Publication;
use dataplane::pipeline::Engine;
use dataplane::port::Caps;
use dataplane::port::fault::Rng;
use dataplane::port::memory::MemoryPort;
use dataplane::slow::Switch;
use dataplane::worker::Queues;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use switchd_tests::memory::check::Seen;
use switchd_tests::memory::packet::{Ip, arp, eth, ipv4, udp, udp_tuple};
use switchd_tests::memory::{APP, FAR, GW, PEER, UP, WEB, config, mac, spec};

const WORKERS: usize = 2;
const ROUNDS: usize = 4_000;
/// Flows, so few that both workers meet each all the time.
const FLOWS: u64 = 12;
const START: Instant = Instant::from_secs(1);

struct World {
    sw: Arc<Switch>,
    /// Containers `web` and `app`, the uplink.
    ports: Vec<(PortId, MemoryPort)>,
    /// Milliseconds since the start.
    clock: AtomicU64,
    over: AtomicBool,
}

impl World {
    fn now(&self) -> Instant {
        START + Duration::from_millis(self.clock.load(SeqCst))
    }

    /// One frame of any of the flows, in any direction, and where it comes in.
    fn frame(&self, rng: &mut Rng) -> (PortId, Vec<u8>) {
        let n = rng.below(FLOWS) as u16;
        let (by, router, t) = match rng.below(16) {
            // Heard behind the wrong port, or the right one again: decisions are void.
            0 => return (self.ports[1].0, eth(mac(APP), mac(WEB), 0x88b5, &[0; 46])),
            1 => return (self.ports[0].0, eth(mac(APP), mac(WEB), 0x88b5, &[0; 46])),
            2..=6 => (0, GW, udp_tuple(WEB, 1_000 + n, FAR, 53)),
            7..=10 => (2, UP, udp_tuple(FAR, 53, UP, 1_000 + n)),
            11..=13 => (2, UP, udp_tuple(FAR, 2_000 + n, UP, 5_000)),
            _ => (0, GW, udp_tuple(WEB, 80, FAR, 2_000 + n)),
        };
        let from = [WEB, APP, PEER][by];
        let packet = ipv4(&Ip::default(), &t, &udp(&t, b"payload"));
        (
            self.ports[by].0,
            eth(mac(router), mac(from), 0x0800, &packet),
        )
    }

    fn work(&self, worker: usize, mut queues: Queues) -> (Engine, Queues) {
        let mut engine = Engine::new(Arc::clone(&self.sw), worker, START);
        let (mut batch, mut rng) = (Batch::default(), Rng::new(worker as u64 + 1));
        for _ in 0..ROUNDS {
            let (by, first) = self.frame(&mut rng);
            batch.clear();
            batch.push(&first, VnetHdr::PLAIN);
            for _ in 0..rng.below(8) {
                let (port, f) = self.frame(&mut rng);
                if port == by {
                    batch.push(&f, VnetHdr::PLAIN);
                }
            }
            engine.process(&mut batch, by, self.now(), &mut queues);
            engine.tick(self.now(), &mut batch, &mut queues);
        }
        (engine, queues)
    }

    /// Publishes and withdraws, lists, lets time pass.
    fn control(&self) -> usize {
        let mut rounds = 0;
        loop {
            let p = Publication {
                proto: Proto::UDP,
                host_ip: None,
                first: 5_000,
                last: 5_000,
                ip: WEB,
                port: 80,
            };
            let id = self.sw.publish(p).expect("nothing else is published");
            for c in self.sw.conntrack.list(self.now().tick()) {
                one_connection(&c.orig, &c.reply, c.rule);
            }
            self.clock.fetch_add(7, SeqCst);
            std::thread::yield_now();
            self.sw.unpublish(id).expect("it was published");
            rounds += 1;
            if self.over.load(SeqCst) {
                return rounds;
            }
        }
    }
}

/// The tuples belong together.
fn one_connection(orig: &Tuple, reply: &Tuple, rule: RuleId) {
    if orig.src == WEB {
        assert_eq!(
            (reply.src, reply.sport),
            (orig.dst, orig.dport),
            "{orig} {reply}"
        );
        assert_eq!((reply.dst, rule), (UP, RuleId::NONE));
    } else {
        assert_eq!(*reply, udp_tuple(WEB, 80, orig.src, orig.sport), "{orig}");
        assert_ne!(rule, RuleId::NONE);
    }
}

fn build() -> (World, Vec<Queues>) {
    let mut cfg = config();
    cfg.limits.connections = 20;
    let sw = Arc::new(Switch::new(cfg, WORKERS));
    let mut queues: Vec<Queues> = (0..WORKERS).map(|_| Queues::default()).collect();
    let all: [(&str, Role, Ipv4Addr); 3] = [
        ("web", Role::Access, WEB),
        ("app", Role::Access, APP),
        ("uplink", Role::Uplink, PEER),
    ];
    let mut ports = Vec::new();
    for (name, role, ip) in all {
        let (port, ends) = MemoryPort::new(WORKERS, Caps::NONE);
        let id = sw.add_port(spec(name, role, ip, 1_500), START.tick());
        let id = id.expect("a port");
        for (q, end) in queues.iter_mut().zip(ends) {
            q.set(id, Some(end));
        }
        ports.push((id, port));
    }
    let world = World {
        sw,
        ports,
        clock: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    (world, queues)
}

#[test]
fn two_threads_and_control_keep_every_promise() {
    let (world, mut queues) = build();
    // The next hop is known from the start.
    let mut first = Engine::new(Arc::clone(&world.sw), 0, START);
    let mut batch = Batch::default();
    batch.push(
        &arp(mac(UP), 2, (mac(PEER), PEER), (mac(UP), UP)),
        VnetHdr::PLAIN,
    );
    first.process(&mut batch, world.ports[2].0, START, &mut queues[0]);

    let (mut engines, rounds) = std::thread::scope(|s| {
        let world = &world;
        let workers: Vec<_> = queues
            .drain(..)
            .enumerate()
            .map(|(n, q)| s.spawn(move || world.work(n, q)))
            .collect();
        let control = s.spawn(|| world.control());
        let done: Vec<_> = workers
            .into_iter()
            .map(|w| w.join().expect("a worker"))
            .collect();
        world.over.store(true, SeqCst);
        (done, control.join().expect("control"))
    });
    assert!(rounds > 0);

    let totals = Totals::sum(&world.sw.counters);
    assert_eq!(totals.balance(), Ok(()));
    assert_eq!(world.sw.drops(Reason::Panic), 0);
    assert!(totals.hits > 0 && world.sw.fdb.counts().moved > 0);
    sent_is_right(&world);
    settled(&world);

    // And all of it is forgotten.
    let end = world.now() + Duration::from_secs(400);
    for (engine, queues) in &mut engines {
        engine.tick(end, &mut batch, queues);
    }
    assert_eq!(world.sw.conntrack.len(), 0);
    assert_eq!(world.sw.external.mappings(), 0);
}

/// Every frame that left has right checksums and is one that its port may get.
fn sent_is_right(world: &World) {
    let mut routed = 0;
    for (n, (_, port)) in world.ports.iter().enumerate() {
        for f in port.take() {
            let seen = Seen::new(&f);
            if seen.p.l4 != L4::Udp {
                continue;
            }
            routed += 1;
            let t = seen.tuple();
            if n == 2 {
                assert_eq!((t.src, t.dst), (UP, FAR), "{t}");
            } else {
                assert_eq!((t.src, t.dst), (FAR, WEB), "{t}");
            }
        }
    }
    assert!(routed > 0);
}

/// No connection of a withdrawn rule is left, and no two share a tuple.
fn settled(world: &World) {
    let left = world.sw.conntrack.list(world.now().tick());
    let (mut orig, mut reply) = (BTreeSet::new(), BTreeSet::new());
    for c in &left {
        one_connection(&c.orig, &c.reply, c.rule);
        assert_eq!(c.rule, RuleId::NONE, "{}", c.orig);
        assert!(orig.insert(c.orig) && reply.insert(c.reply));
    }
    assert!(left.len() <= 20);
}
