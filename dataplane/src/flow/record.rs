//! The shared connection record: two cache lines, all atomics, read without a lock on a hit.
//!
//! Line 1 is what a hit reads: for each direction its key, where the frame goes and how its
//! checksums change. Where the answers go is also where the frames have to come from that the
//! record speaks for (`pipeline::express`). Line 2 is what a hit writes: when it was last seen, and each direction's own
//! TCP numbers. Each direction stores only what its own frames said and reads the other's, so two
//! workers that see the two directions never need a read-modify-write; only TCP state changes are
//! compare-and-swap. A lost race under-reports until the next frame of that direction.

use crate::base::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Zeroable, fence};
use crate::base::{Mac, PortId, RuleId, Tick};
use crate::flow::Generation;
use crate::flow::key::FlowKey;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Direction of a frame within its connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Dir {
    /// As the first frame went.
    Orig = 0,
    /// The answers.
    Reply = 1,
}

impl Dir {
    /// The other one.
    #[inline]
    #[must_use]
    pub const fn other(self) -> Dir {
        match self {
            Dir::Orig => Dir::Reply,
            Dir::Reply => Dir::Orig,
        }
    }

    /// This direction's of two things.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "a direction is 0 or 1")]
    pub const fn of<T>(self, both: &[T; 2]) -> &T {
        &both[self as usize]
    }

    /// Both, original first.
    pub const BOTH: [Dir; 2] = [Dir::Orig, Dir::Reply];
}

/// What a hit does to a frame of one direction. The new tuple is not here: it is the other
/// direction's key, reversed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    /// Egress port.
    pub egress: PortId,
    /// Next hop's MAC.
    pub dst_mac: Mac,
    /// RFC 1624 delta of the IPv4 header checksum: addresses, and a TTL one lower.
    pub header_delta: u16,
    /// Delta of a finished L4 checksum (addresses and ports).
    pub l4_delta: u16,
    /// MTU of the egress port (IP bytes).
    pub mtu: u16,
    /// Eighth of a second (see `Instant::eighth`) at which the FDB entry or the neighbour that
    /// this rests on has to be looked at again.
    pub until: u16,
}

impl Forward {
    /// From a record's two words.
    #[inline(always)]
    const fn unpacked(place: u64, deltas: u64) -> Forward {
        Forward {
            egress: PortId((place >> 48) as u16),
            dst_mac: Mac::from_u64(place),
            header_delta: (deltas >> 48) as u16,
            l4_delta: (deltas >> 32) as u16,
            mtu: (deltas >> 16) as u16,
            until: deltas as u16,
        }
    }

    /// Whether it is good at `eighth` for a packet that is `wire_len` bytes long on a wire.
    #[inline(always)]
    pub const fn holds(&self, eighth: u16, wire_len: u32) -> bool {
        self.valid_at(eighth) && wire_len <= self.mtu as u32
    }

    /// Whether `eighth` is before the decision's end; spans of up to 68 minutes are told apart, so
    /// a record that was idle for an hour is to be decided anew whatever this says.
    #[inline]
    pub const fn valid_at(&self, eighth: u16) -> bool {
        self.until.wrapping_sub(eighth).wrapping_sub(1) < 0x7fff
    }
}

/// One direction's half of the first line.
#[derive(Zeroable)]
#[repr(C)]
struct Way {
    /// Its key.
    a: AtomicU64,
    b: AtomicU64,
    /// Where its frames go: see [`place`].
    place: AtomicU64,
    /// header and l4 deltas, MTU and `until`, 16 bits each.
    deltas: AtomicU64,
}

/// A host's place: the port behind which it is (high 16 bits) and its MAC.
#[inline(always)]
pub const fn place(port: PortId, mac: u64) -> u64 {
    (port.0 as u64) << 48 | mac
}

/// Where nobody is: a group MAC behind a port that can't be.
const NOWHERE: u64 = u64::MAX;

/// What the frames of one direction said (TCP). Sequence numbers are modulo 2^32.
#[derive(Zeroable)]
#[repr(C)]
pub struct TcpDir {
    /// Highest sequence number + length sent by this direction.
    pub end: AtomicU32,
    /// Highest acknowledgement sent by this direction. With the largest window it makes the
    /// other direction's limit.
    pub ack: AtomicU32,
    /// Sequence number + 1 of this direction's last SYN.
    pub syn: AtomicU32,
    /// Largest window announced by this direction, in units of its scale.
    pub max_window: AtomicU16,
    /// Window scale announced in the SYN (0 to 14) in the low half; the high half is
    /// `conntrack::tcp`'s.
    pub scale: AtomicU8,
    /// Bits that `conntrack::tcp` defines.
    pub flags: AtomicU8,
}

/// One direction's part of the second line.
#[derive(Zeroable)]
#[repr(C)]
struct Side {
    tcp: TcpDir,
    /// Generation under which its [`Forward`] was decided; 0 never matches.
    generation: AtomicU32,
    /// When it was last seen.
    last_seen: AtomicU32,
}

/// One connection.
#[derive(Zeroable)]
#[repr(C, align(128))]
pub struct Record {
    ways: [Way; 2],
    // ---- second line
    sides: [Side; 2],
    /// Protocol-specific state; for TCP see `conntrack::tcp::State`. 0: the record is free or dead.
    pub state: AtomicU8,
    /// Bits of [`flags`].
    pub flags: AtomicU8,
    /// Ingress port of the first frame.
    pub ingress: AtomicU16,
    /// Counts how often this record was used, so that a timer can tell.
    pub incarnation: AtomicU32,
    /// The published port that made it, [`RuleId::NONE`] for others.
    pub rule: AtomicU32,
    /// External port (host order) that masquerade or hairpin took for it, if [`flags::MAPPED`].
    pub mapped_port: AtomicU16,
    /// Bytes of data in the SYN that passed on the open connection last, of either direction (TCP
    /// Fast Open).
    pub syn_data: AtomicU16,
}

/// Bits of [`Record::flags`].
pub mod flags {
    /// The record stands for a connection.
    pub const LIVE: u8 = 1;
    /// Frames were seen in both directions.
    pub const REPLIED: u8 = 2;
    /// UDP: confirmed as a stream (assured).
    pub const ASSURED: u8 = 4;
    /// The destination was translated.
    pub const DNAT: u8 = 8;
    /// The source was translated.
    pub const SNAT: u8 = 16;
    /// Counts against the half-open limit of its port.
    pub const HALF_OPEN: u8 = 32;
    /// A timer stands for it at the shorter time of a closing connection.
    pub const CLOSING_TIMER: u8 = 64;
    /// [`super::Record::mapped_port`] is held.
    pub const MAPPED: u8 = 128;
}

impl Record {
    /// The key of one direction's frames, as they come in.
    #[inline(always)]
    pub fn key(&self, dir: Dir) -> FlowKey {
        let c = dir.of(&self.ways);
        FlowKey {
            a: c.a.load(Relaxed),
            b: c.b.load(Relaxed),
        }
    }

    /// Stores a direction's key. Slow path only, before the record is in the index.
    pub fn set_key(&self, dir: Dir, k: FlowKey) {
        let c = dir.of(&self.ways);
        c.a.store(k.a, Relaxed);
        c.b.store(k.b, Relaxed);
    }

    /// Where a direction's frames go.
    #[inline(always)]
    pub fn forward(&self, dir: Dir) -> Forward {
        let c = dir.of(&self.ways);
        Forward::unpacked(c.place.load(Relaxed), c.deltas.load(Relaxed))
    }

    /// Whether a frame of `dir` from this [`place`] comes from where the answers go.
    #[inline(always)]
    pub fn answers_go_to(&self, dir: Dir, place: u64) -> bool {
        dir.other().of(&self.ways).place.load(Relaxed) == place
    }

    /// Stores where a direction's frames go. Slow path only.
    pub fn set_forward(&self, dir: Dir, f: &Forward) {
        let c = dir.of(&self.ways);
        c.place.store(place(f.egress, f.dst_mac.to_u64()), Relaxed);
        c.deltas.store(
            (u64::from(f.header_delta) << 48)
                | (u64::from(f.l4_delta) << 32)
                | (u64::from(f.mtu) << 16)
                | u64::from(f.until),
            Relaxed,
        );
    }

    /// The decision about a direction's frames, if it was made under `generation`, the current one.
    #[inline(always)]
    pub fn decided(&self, dir: Dir, generation: u32) -> Option<Forward> {
        // The number first: read after it, the decision is the number's or a later one.
        (self.generation(dir).load(Acquire) == generation).then(|| self.forward(dir))
    }

    /// Whether the decision about a direction's frames was made under `generation`, the current one,
    /// and [holds](Forward::holds).
    #[inline(always)]
    pub fn decision_holds(&self, dir: Dir, generation: u32, eighth: u16, wire_len: u32) -> bool {
        let decided = self.generation(dir).load(Acquire);
        // Where it goes is not read, since nobody would optimise that away.
        let deltas = dir.of(&self.ways).deltas.load(Relaxed);
        decided == generation && Forward::unpacked(0, deltas).holds(eighth, wire_len)
    }

    /// Stores what was decided under generation `under`, unless that is void already or another
    /// worker is storing a decision about this direction: the next frame decides again then.
    ///
    /// The generation's cell is the lock. A decision that is void may not be written over a newer
    /// one, not even for a moment, since a hit may be reading that; whoever was late finds the
    /// cell changed since it saw its own number current.
    pub fn decide(&self, dir: Dir, f: &Forward, under: u32, now: &Generation) {
        let cell = self.generation(dir);
        let was = cell.load(Acquire);
        if was == Generation::LOCKED || now.get() != under {
            return;
        }
        let lock = cell.compare_exchange(was, Generation::LOCKED, AcqRel, Relaxed);
        if lock.is_ok() {
            self.set_forward(dir, f);
            cell.store(under, Release);
        }
    }

    /// What `look` sees of a live connection by a thread that no [`super::Epochs`] knows. `None`
    /// when the record was freed and used again meanwhile.
    pub fn steady<T>(&self, look: impl FnOnce(&Record) -> T) -> Option<T> {
        let incarnation = self.incarnation.load(Acquire);
        if self.flags.load(Acquire) & flags::LIVE == 0 {
            return None;
        }
        let seen = look(self);
        fence(Acquire);
        (self.incarnation.load(Relaxed) == incarnation).then_some(seen)
    }

    /// A direction's TCP numbers.
    #[inline]
    pub fn tcp(&self, dir: Dir) -> &TcpDir {
        &dir.of(&self.sides).tcp
    }

    /// Whether all bits of `mask` (see [`flags`]) are set.
    #[inline(always)]
    pub fn has(&self, mask: u8) -> bool {
        self.flags.load(Relaxed) & mask == mask
    }

    /// Sets bits; a plain load first, so that an established connection is not written to.
    #[inline(always)]
    pub fn set(&self, mask: u8) {
        if !self.has(mask) {
            self.flags.fetch_or(mask, Relaxed);
        }
    }

    /// Notes that a frame of `dir` passed at `now`; writes only when the tick moved.
    #[inline(always)]
    pub fn touch(&self, dir: Dir, now: Tick) {
        let c = &dir.of(&self.sides).last_seen;
        if c.load(Relaxed) != now.0 {
            c.store(now.0, Relaxed);
        }
    }

    /// Whether a frame of `dir` passed less than `ms` milliseconds ago.
    #[inline(always)]
    pub fn seen_within(&self, dir: Dir, ms: u32, now: Tick) -> bool {
        let seen = dir.of(&self.sides).last_seen.load(Relaxed);
        // Another worker's clock may be a batch ahead.
        (now.0.wrapping_sub(seen) as i32) < ms as i32
    }

    /// Both directions start at `now`. Slow path only, before the record is in the index.
    pub fn touch_both(&self, now: Tick) {
        for s in &self.sides {
            s.last_seen.store(now.0, Relaxed);
        }
    }

    /// Makes the record a blank one, but for its incarnation. Slow path only, on a record that
    /// nobody else can see.
    pub fn reset(&self) {
        for w in &self.ways {
            w.a.store(0, Relaxed);
            w.b.store(0, Relaxed);
            w.place.store(NOWHERE, Relaxed);
            w.deltas.store(0, Relaxed);
        }
        for Side {
            tcp: t, generation, ..
        } in &self.sides
        {
            generation.store(0, Relaxed);
            t.end.store(0, Relaxed);
            t.ack.store(0, Relaxed);
            t.syn.store(0, Relaxed);
            t.max_window.store(0, Relaxed);
            t.scale.store(0, Relaxed);
            t.flags.store(0, Relaxed);
        }
        self.state.store(0, Relaxed);
        self.flags.store(0, Relaxed);
        self.rule.store(0, Relaxed);
        self.mapped_port.store(0, Relaxed);
        self.syn_data.store(0, Relaxed);
    }

    /// The generation under which a direction's [`Forward`] was decided.
    #[inline]
    pub fn generation(&self, dir: Dir) -> &AtomicU32 {
        &dir.of(&self.sides).generation
    }

    /// When a frame of either direction passed last.
    #[inline]
    pub fn last_seen(&self) -> Tick {
        let [o, r] = &self.sides;
        let at = |s: &Side| Tick(s.last_seen.load(Relaxed));
        let (o, r) = (at(o), at(r));
        if o.reached(r) { o } else { r }
    }

    /// The rule that made the connection.
    pub fn rule(&self) -> RuleId {
        RuleId(self.rule.load(Relaxed))
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Record>() == 128);
