//! Containers that pass on what they get, as routers and as bridges: superframes beyond 64 KiB, which
//! they would have to cut, are for those who keep them.

use control::netlink::{LinkChange, Netlink, Route};
use dataplane::frame::Batch;
use dataplane::port::PortQueue;
use dataplane::port::filter::Insn;
use dataplane::port::sys::packet;
use std::net::Ipv4Addr;
use switchd_tests::lab::nic::{default_route, give_address, set_up, wire};
use switchd_tests::lab::tcp::exchange;
use switchd_tests::lab::world::{C2, at};
use switchd_tests::lab::{Ns, World, WorldSpec};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const BYTES: usize = 24 << 20;

/// Shows everything (linux/bpf_common.h: BPF_RET, BPF_K).
const ALL: [Insn; 1] = [Insn {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: u32::MAX,
}];

/// What comes in by a container's interface, read beside its kernel.
struct Beside(Box<dyn PortQueue>);

impl Beside {
    fn new(ns: &Ns) -> Beside {
        let index = ns.link("eth0").expect("its interface").index;
        let (mut queues, _) = ns
            .run(|| packet::open(index, 1, &ALL))
            .expect("a packet socket");
        Beside(queues.remove(0))
    }

    /// Packets without a length of their own so far, which are those beyond 64 KiB. The first of them
    /// shows itself so: what is read behind it is cut.
    fn big(&mut self) -> usize {
        let mut batch = Batch::default();
        let mut big = 0;
        loop {
            batch.clear();
            let more = self.0.recv(&mut batch, usize::MAX).expect("reading");
            let f = batch.frames().iter().map(|f| f.bytes());
            big += f
                .filter(|b| {
                    b.get(12..18)
                        .is_some_and(|t| t[..2] == [8, 0] && t[4..] == [0, 0])
                })
                .count();
            if !more {
                return big;
            }
        }
    }
}

/// Bulk from the first container: how many packets beyond 64 KiB the second one got.
fn bulk(w: &World, server: &Ns, ip: Ipv4Addr) -> usize {
    let listener = server.listen(ANY, 5000);
    let mut beside = Beside::new(&w.c[1]);
    std::thread::scope(|s| {
        let stream = s.spawn(|| exchange(&w.c[0], at(ip, 5000), &listener, BYTES));
        let mut big = 0;
        while !stream.is_finished() {
            big += beside.big();
        }
        big + beside.big()
    })
}

fn world() -> (World, Ns) {
    let big = |w: &World| w.daemon.log().contains(",big");
    let mut w = World::new(&WorldSpec::default());
    if !big(&w) {
        // On a machine that stands still the self-test may see none of them arrive.
        w.finish();
        w = World::new(&WorldSpec::default());
    }
    let inner = Ns::anonymous();
    wire(&w.c[1], "in0", &inner, "eth0");
    match big(&w) {
        true => assert!(bulk(&w, &w.c[1], C2) > 0, "itself gets them"),
        // Before Linux 6.3.
        false => eprintln!("SKIPPED: the kernel takes none beyond 64 KiB"),
    }
    (w, inner)
}

/// `links`: what was made in the container.
fn finish(w: World, inner: Ns, links: &[&str]) {
    links.iter().for_each(|l| w.c[1].delete_link(l));
    drop(inner);
    w.finish();
}

scenario!(a_container_that_routes_gets_superframes_of_64_kib, || {
    let (w, inner) = world();
    let [gateway, ip] = [1, 2].map(|n| Ipv4Addr::new(192, 168, 9, n));
    give_address(&w.c[1], "in0", gateway, 24);
    give_address(&inner, "eth0", ip, 24);
    default_route(&inner, "eth0", gateway);
    w.c[1]
        .run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
        .expect("ip_forward");
    let to_inner = Route {
        dst: Ipv4Addr::new(192, 168, 9, 0),
        prefix: 24,
        gateway: Some(C2),
        ..Route::default_via(C2, w.c[0].link("eth0").expect("its interface").index)
    };
    w.c[0].netlink().add_route(&to_inner).expect("a route");
    assert_eq!(bulk(&w, &inner, ip), 0, "behind it");
    finish(w, inner, &["in0"]);
});

scenario!(a_container_that_bridges_gets_superframes_of_64_kib, || {
    let (w, inner) = world();
    let c = &w.c[1];
    let ip = Ipv4Addr::new(10, 0, 0, 9);
    give_address(&inner, "eth0", ip, 24);
    let mut nl = c.netlink();
    nl.create_bridge("br0").expect("a bridge");
    let master = Some(c.link("br0").expect("the bridge").index);
    for port in ["eth0", "in0"] {
        let change = LinkChange {
            master,
            ..LinkChange::default()
        };
        let index = c.link(port).expect("its port").index;
        nl.change_link(index, &change).expect("a port of it");
    }
    set_up(c, "br0", true);
    assert_eq!(bulk(&w, &inner, ip), 0, "behind it");
    finish(w, inner, &["in0", "br0"]);
});
