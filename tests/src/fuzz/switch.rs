//! The whole switch under any sequence of frames, steps of time and changes of control.
//!
//! Two switches live through the same: one as it is, and one whose cached decisions, or the next
//! hops of them, are void at every frame, or whose two workers get frames at random. [`World`]
//! asserts after each step that they put out, count and know the same, that every frame is accounted
//! for and that every checksum is right. Here is added: no table grows above its limit, addresses and
//! ports are translated one to one, and after the longest timeout nothing is left.

use crate::memory::model::{ArpKind, Change, Form, Kind, Op, Said, Void, Way, World};
use crate::memory::{Lab, config};
use arbitrary::{Result, Unstructured};
use dataplane::base::Config;
use dataplane::port::Caps;

/// Tables so small that their bounds are met.
fn small() -> Config {
    let mut cfg = config();
    cfg.limits.connections = 64;
    cfg.limits.half_open_per_port = 12;
    cfg.limits.connections_per_port = 40;
    cfg.limits.fdb = 64;
    cfg.limits.neighbours = 16;
    cfg.limits.fragments = 8;
    cfg
}

/// Most steps of one run.
const STEPS: usize = 200;

/// The bytes choose what happens, step by step.
pub fn switch(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(seed) = u.arbitrary::<u64>() else {
        return;
    };
    let (void, workers) = match seed & 3 {
        0 => (Void::All, 1),
        2 => (Void::NextHops, 1),
        _ => (Void::Nothing, 2),
    };
    let labs = vec![Lab::new(small()), Lab::with(small(), workers, Caps::ALL)];
    let mut world = World::new(labs, &[Void::Nothing, void], seed);
    for _ in 0..STEPS {
        if u.is_empty() {
            break;
        }
        let Ok(op) = op(&mut u) else { break };
        world.apply(&op);
        world.labs.iter().for_each(within_limits);
    }
    world.assert_bijection();
    world.end();
}

fn within_limits(lab: &Lab) {
    let (sw, limits) = (lab.sw.switch(), small().limits);
    assert!(sw.conntrack.len() <= limits.connections);
    assert!(sw.external.mappings() <= limits.connections as usize);
    assert!(sw.fdb.len() <= limits.fdb as usize);
    assert!(sw.neigh.len() <= limits.neighbours as usize);
    assert!(sw.frags.len().0 <= limits.fragments as usize);
}

/// One thing that happens.
fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match u.int_in_range(0..=43u8)? {
        0..=5 => Op::Open(way(u)?, u.arbitrary()?),
        6..=19 => Op::Say(u.arbitrary()?, u.arbitrary()?, said(u)?),
        20..=25 => Op::Talk(u.arbitrary()?, u.int_in_range(0..=7)?, form(u)?),
        26..=28 => Op::Error(u.arbitrary()?, u.arbitrary()?, u.arbitrary()?),
        29..=31 => Op::Arp(u.arbitrary()?, u.arbitrary()?, arp_kind(u)?),
        32 | 33 => Op::Damaged(u.arbitrary()?, u.arbitrary()?, u.arbitrary()?),
        34 => Op::Truncated(u.arbitrary()?),
        35 => {
            let len = u.int_in_range(0..=120usize)?.min(u.len());
            Op::Junk(u.arbitrary()?, u.bytes(len)?.to_vec(), u.arbitrary()?)
        }
        36..=38 => Op::Wait(match u.int_in_range(0..=3u8)? {
            0 | 1 => u.int_in_range(1..=2_000)?,
            2 => u.int_in_range(2_001..=70_000)?,
            _ => *u.choose(&[239_999, 240_001, 299_000, 301_000, 3_600_000, 7_440_001])?,
        }),
        _ => Op::Control(change(u)?),
    })
}

fn way(u: &mut Unstructured<'_>) -> Result<Way> {
    let kind = *u.choose(&[Kind::Tcp, Kind::Udp, Kind::Echo])?;
    Ok(match u.int_in_range(0..=7u8)? {
        0..=2 => Way::Masquerade(kind),
        3 | 4 => Way::Published(kind),
        5 => Way::Hairpin(kind),
        6 => *u.choose(&[Way::ByGateway(kind), Way::Bridged(kind)])?,
        _ => Way::ToSwitch(kind),
    })
}

fn said(u: &mut Unstructured<'_>) -> Result<Said> {
    Ok(Said {
        what: u.int_in_range(0..=9)?,
        len: u.int_in_range(0..=12_000)?,
        form: form(u)?,
    })
}

fn form(u: &mut Unstructured<'_>) -> Result<Form> {
    Ok(match u.int_in_range(0..=11u8)? {
        0..=3 => Form::Plain,
        4 => Form::Partial,
        5 | 6 => Form::Super(u.int_in_range(1..=1_600)?),
        7 | 8 => Form::Fragments(u.int_in_range(0..=40)?, u.arbitrary()?),
        9 => Form::Ttl(*u.choose(&[0, 1, 2, 255])?),
        10 => *u.choose(&[Form::Options, Form::MayFragment])?,
        _ => Form::Tagged(*u.choose(&[0, 1, 7, 0x2007, 0xffff])?),
    })
}

fn arp_kind(u: &mut Unstructured<'_>) -> Result<ArpKind> {
    Ok(*u.choose(&[
        ArpKind::Request,
        ArpKind::Reply,
        ArpKind::Probe,
        ArpKind::Gratuitous,
        ArpKind::Claim,
    ])?)
}

fn change(u: &mut Unstructured<'_>) -> Result<Change> {
    Ok(match u.int_in_range(0..=5u8)? {
        0 => Change::Publish(u.arbitrary()?, u.arbitrary()?),
        1 => Change::Unpublish(u.arbitrary()?),
        2 => Change::Replug(u.arbitrary()?),
        3 => Change::Move(u.arbitrary()?, u.arbitrary()?),
        4 => Change::Silence,
        _ => Change::Caps(u.arbitrary()?, u.arbitrary()?),
    })
}
