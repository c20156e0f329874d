//! The oracle's nf_tables rules: what Docker sets, in one table.
//!
//! ```text
//! map published { proto . port : address . port }
//! chain raw          ip saddr SUBNET ip daddr SUBNET notrack
//! chain prerouting   ip daddr UP dnat to (proto . dport) map @published
//! chain input        ct invalid drop; established,related accept; from the bridge accept;
//!                    echo requests accept; else drop
//! chain forward      ct invalid drop; established,related accept; untracked accept;
//!                    translated by dnat accept; from the bridge accept; else drop
//! chain postrouting  from SUBNET out by the uplink: masquerade
//!                    from SUBNET, translated by dnat, out by the bridge: snat to UP
//! ```
//!
//! Numbers are those of linux/netfilter/nf_tables.h.

use super::netfilter::{ACK, APPEND, Attrs, CREATE, Netfilter};
use super::nft::{ACCEPT, BEGIN, END, INPUT, IPV4, NEW_CHAIN, NEW_RULE, NEW_TABLE, NFTABLES};
use crate::memory::UP;
use dataplane::base::Proto;
use std::io;
use std::net::Ipv4Addr;

const NEW_SET: u16 = NFTABLES | 9;
const NEW_ELEMENT: u16 = NFTABLES | 12;
const DELETE_ELEMENT: u16 = NFTABLES | 14;

const TABLE: &str = "oracle";
const PUBLISHED: &str = "published";

/// Hooks of linux/netfilter.h.
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const POSTROUTING: u32 = 4;
const DROP: u32 = 0;

/// The 32-bit registers that rules use; 0 is the verdict's.
const R0: u32 = 8;
const R1: u32 = 9;
const R2: u32 = 10;
const R3: u32 = 11;

/// Keys of `meta`.
const IIF: u32 = 4;
const OIF: u32 = 5;
const L4PROTO: u32 = 16;

/// `ct state` as bits.
const INVALID: u32 = 1;
const ESTABLISHED_RELATED: u32 = 2 | 4;
const UNTRACKED: u32 = 64;
/// `IPS_DST_NAT`
const DST_NAT: u32 = 32;

/// What a published port is for the kernel: protocol, external port, where to.
pub type Published = (Proto, u16, (Ipv4Addr, u16));

/// The expressions of a rule.
#[derive(Default)]
struct Rule(Attrs);

impl Rule {
    fn expr(self, name: &str, data: Attrs) -> Rule {
        Rule(self.0.nest(1, Attrs::default().text(1, name).nest(2, data)))
    }

    fn meta(self, key: u32, to: u32) -> Rule {
        self.expr("meta", Attrs::default().be32(1, to).be32(2, key))
    }

    /// Bytes of the network (1) or transport (2) header.
    fn payload(self, base: u32, offset: u32, len: u32, to: u32) -> Rule {
        let a = Attrs::default().be32(1, to).be32(2, base);
        self.expr("payload", a.be32(3, offset).be32(4, len))
    }

    fn is(self, register: u32, value: &[u8]) -> Rule {
        self.compare(register, 0, value)
    }

    fn compare(self, register: u32, op: u32, value: &[u8]) -> Rule {
        let a = Attrs::default().be32(1, register).be32(2, op);
        self.expr("cmp", a.nest(3, Attrs::default().bytes(1, value)))
    }

    fn mask(self, register: u32, mask: &[u8]) -> Rule {
        let value = |bytes: &[u8]| Attrs::default().bytes(1, bytes);
        let a = Attrs::default().be32(1, register).be32(2, register);
        let a = a.be32(3, mask.len() as u32).nest(4, value(mask));
        self.expr("bitwise", a.nest(5, value(&vec![0; mask.len()])))
    }

    /// `ct state` (0) or `ct status` (2) has one of these bits.
    fn ct(self, key: u32, bits: u32) -> Rule {
        self.expr("ct", Attrs::default().be32(1, R0).be32(2, key))
            .mask(R0, &bits.to_ne_bytes())
            .compare(R0, 1, &[0; 4])
    }

    /// The source (12) or destination (16) address is in the subnet.
    fn in_subnet(self, offset: u32) -> Rule {
        self.payload(1, offset, 3, R0).is(R0, &[10, 0, 0])
    }

    fn put(self, register: u32, value: &[u8]) -> Rule {
        let data = Attrs::default().bytes(1, value);
        self.expr(
            "immediate",
            Attrs::default().be32(1, register).nest(2, data),
        )
    }

    fn verdict(self, code: u32) -> Rule {
        let data = Attrs::default().nest(2, Attrs::default().be32(1, code));
        self.expr("immediate", Attrs::default().be32(1, 0).nest(2, data))
    }
}

fn of_table() -> Attrs {
    Attrs::default().text(1, TABLE)
}

struct Batch<'a>(&'a mut Netfilter);

impl<'a> Batch<'a> {
    fn begin(nf: &'a mut Netfilter) -> Batch<'a> {
        nf.push(BEGIN, 0, 0, 10, &Attrs::default());
        Batch(nf)
    }

    fn add(&mut self, kind: u16, flags: u16, attrs: &Attrs) {
        self.0.push(kind, flags, IPV4, 0, attrs);
    }

    fn chain(&mut self, name: &str, (kind, hook): (&str, u32), priority: i32, policy: u32) {
        let hook = Attrs::default().be32(1, hook).be32(2, priority as u32);
        let a = of_table().text(3, name).nest(4, hook);
        self.add(NEW_CHAIN, CREATE, &a.be32(5, policy).text(7, kind));
    }

    fn rule(&mut self, chain: &str, rule: Rule) {
        let a = of_table().text(2, chain).nest(4, rule.0);
        self.add(NEW_RULE, CREATE | APPEND, &a);
    }

    /// The batch's end can't ask for an answer: the last message before it does.
    fn commit(mut self, kind: u16, flags: u16, last: &Attrs) -> io::Result<()> {
        self.add(kind, flags | ACK, last);
        self.0.push(END, 0, 0, 10, &Attrs::default());
        self.0.send().map(drop)
    }
}

fn element(p: &Published) -> Attrs {
    let (proto, port, (ip, to)) = p;
    let [a, b] = port.to_be_bytes();
    let [c, d] = to.to_be_bytes();
    let value = |bytes: &[u8]| Attrs::default().bytes(1, bytes);
    let data = [&ip.octets()[..], &[c, d, 0, 0]].concat();
    Attrs::default()
        .nest(1, value(&[proto.0, 0, 0, 0, a, b, 0, 0]))
        .nest(2, value(&data))
}

fn elements(all: &[Published]) -> Attrs {
    let list = all
        .iter()
        .fold(Attrs::default(), |list, p| list.nest(1, element(p)));
    of_table().text(2, PUBLISHED).nest(3, list)
}

/// Publishes ports.
///
/// # Errors
/// What the kernel refused.
pub fn publish(nf: &mut Netfilter, all: &[Published]) -> io::Result<()> {
    Batch::begin(nf).commit(NEW_ELEMENT, CREATE, &elements(all))
}

/// Withdraws ports.
///
/// # Errors
/// What the kernel refused.
pub fn unpublish(nf: &mut Netfilter, all: &[Published]) -> io::Result<()> {
    Batch::begin(nf).commit(DELETE_ELEMENT, 0, &elements(all))
}

/// Loads the table. `bridge` and `uplink` are the interfaces' numbers.
///
/// # Errors
/// What the kernel refused.
pub fn load(nf: &mut Netfilter, bridge: u32, uplink: u32) -> io::Result<()> {
    let (bridge, uplink) = (bridge.to_ne_bytes(), uplink.to_ne_bytes());
    let r = Rule::default;
    let mut b = Batch::begin(nf);
    b.add(NEW_TABLE, CREATE, &of_table());
    let set = of_table().text(2, PUBLISHED).be32(3, 8).be32(4, 1);
    let set = set.be32(5, 8).be32(6, 1).be32(7, 8).be32(10, 1);
    b.add(NEW_SET, CREATE, &set);
    b.chain("raw", ("filter", PREROUTING), -300, ACCEPT);
    b.chain("prerouting", ("nat", PREROUTING), -100, ACCEPT);
    b.chain("input", ("filter", INPUT), 0, DROP);
    b.chain("forward", ("filter", FORWARD), 0, DROP);
    b.chain("postrouting", ("nat", POSTROUTING), 100, ACCEPT);

    let untracked = r().in_subnet(12).in_subnet(16);
    b.rule("raw", untracked.expr("notrack", Attrs::default()));
    let dnat = Attrs::default().be32(1, 1).be32(2, u32::from(IPV4));
    b.rule(
        "prerouting",
        r().payload(1, 16, 4, R0)
            .is(R0, &UP.octets())
            .meta(L4PROTO, R0)
            .payload(2, 2, 2, R1)
            .expr(
                "lookup",
                Attrs::default().text(1, PUBLISHED).be32(2, R0).be32(3, R2),
            )
            .expr("nat", dnat.be32(3, R2).be32(5, R3)),
    );
    for chain in ["input", "forward"] {
        b.rule(chain, r().ct(0, INVALID).verdict(DROP));
        b.rule(chain, r().ct(0, ESTABLISHED_RELATED).verdict(ACCEPT));
    }
    b.rule("input", r().meta(IIF, R0).is(R0, &bridge).verdict(ACCEPT));
    let echo = r().meta(L4PROTO, R0).is(R0, &[1]).payload(2, 0, 1, R0);
    b.rule("input", echo.is(R0, &[8]).verdict(ACCEPT));
    b.rule("forward", r().ct(0, UNTRACKED).verdict(ACCEPT));
    b.rule("forward", r().ct(2, DST_NAT).verdict(ACCEPT));
    b.rule("forward", r().meta(IIF, R0).is(R0, &bridge).verdict(ACCEPT));

    let out = r().meta(OIF, R0).is(R0, &uplink).in_subnet(12);
    b.rule("postrouting", out.expr("masq", Attrs::default()));
    let back = r().meta(OIF, R0).is(R0, &bridge).in_subnet(12);
    let snat = Attrs::default().be32(1, 0).be32(2, u32::from(IPV4));
    let rule = back
        .ct(2, DST_NAT)
        .put(R0, &UP.octets())
        .expr("nat", snat.be32(3, R0));
    let last = of_table().text(2, "postrouting").nest(4, rule.0);
    b.commit(NEW_RULE, CREATE | APPEND, &last)
}
