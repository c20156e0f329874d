//! The numbers of a connection: what each direction said, and whether a segment fits.
//!
//! Four conditions, after van Rooij's "Real Stateful TCP Packet Filtering in IP Filter" (which
//! Linux follows too), for a segment of direction `own`, `W` being the largest window that a
//! direction announced, scaled when both SYNs carried the option:
//!
//! 1. it begins within what the receiver can have allowed: `seq <= other.ack + other.W`;
//! 2. it is not older than what can be retransmitted: `end >= own.end - other.W`;
//! 3. it acknowledges nothing that was not sent: `ack <= other.end`;
//! 4. its acknowledgement is not too old: `ack >= other.end - own.W`.
//!
//! In 2 and 4 W is larger by [`MARGIN`], one superframe: for what a sender may put behind the
//! window (the probe of a closed one, a FIN), for keep-alives (one number before the next), and
//! for windows that were never larger than the first.
//!
//! Numbers are plain loads and stores. When two workers meet frames of one direction at the same
//! time, the later store may take `end` or `ack` back by what the other frame added. Conditions 1
//! and 3 are then too strict until that direction's next frame, so a segment that fails them gets
//! a second look with one window of grace ([`fits_with_grace`]): 1 counts from `own.end`, which is
//! never below what was acknowledged, and 3 allows the one window that may be on its way. So does
//! a segment that fails 4, which counts from `own.ack` then: newer ones may have overtaken it. An
//! acknowledgement that passes by grace only is not stored: what RSTs are compared with moves by
//! condition 3 alone.

use super::options::{MAX_SCALE, SynOptions};
use crate::flow::Record;
use crate::flow::record::TcpDir;
use crate::frame::parse::{Tcp, tcp_flags};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// What conditions 2 and 4 allow beyond the window, in bytes.
pub(super) const MARGIN: u32 = 66_000;

/// Bits of [`TcpDir::flags`]. Set by read-modify-write, as they change a few times in a life.
pub(super) mod bits {
    /// The direction's numbers are known.
    pub const SEEN: u8 = 1;
    /// It acknowledged the other's SYN.
    pub const ACKED: u8 = 2;
    /// Its SYN carried the window scale option.
    pub const SCALED: u8 = 4;
    /// It sent a FIN, whose number is the last before `end`.
    pub const FIN: u8 = 8;
    /// A SYN of it passed though the connection was open; `syn` and the high half of `scale`
    /// are that SYN's.
    pub const SYN_AGAIN: u8 = 16;
}

/// High half of [`TcpDir::scale`]: the SYN that passed on an open connection had no such option.
const NO_SCALE: u8 = 15;

/// `a` is `b` or comes before it, modulo 2^32.
#[inline]
pub(super) const fn at_most(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) <= i32::MAX as u32
}

/// Sequence number behind the segment: payload, SYN and FIN count.
#[inline]
pub(super) fn end_of(t: &Tcp) -> u32 {
    let one = |flag| u32::from(t.flags & flag != 0);
    t.seq
        .wrapping_add(t.payload)
        .wrapping_add(one(tcp_flags::SYN))
        .wrapping_add(one(tcp_flags::FIN))
}

/// Whether the direction has all bits of `mask`.
#[inline]
pub(super) fn has(d: &TcpDir, mask: u8) -> bool {
    d.flags.load(Acquire) & mask == mask
}

pub(super) fn set(d: &TcpDir, mask: u8) {
    if !has(d, mask) {
        d.flags.fetch_or(mask, AcqRel);
    }
}

/// Largest windows of both directions in bytes, with `window` counted as one that `own` announced.
#[inline]
fn windows(own: &TcpDir, other: &TcpDir, window: u16) -> (u32, u32) {
    let both = own.flags.load(Relaxed) & other.flags.load(Relaxed) & bits::SCALED != 0;
    let (a, b) = if both {
        (own.scale.load(Relaxed) & 15, other.scale.load(Relaxed) & 15)
    } else {
        (0, 0)
    };
    (
        u32::from(own.max_window.load(Relaxed).max(window)) << a,
        u32::from(other.max_window.load(Relaxed)) << b,
    )
}

/// The four conditions, and on success the stores. Plain loads and at most three plain stores.
/// Both directions must have acknowledged; SYN and FIN are not counted.
#[inline(always)]
pub(super) fn fits(own: &TcpDir, other: &TcpDir, t: &Tcp) -> bool {
    // Of an established connection a scale is 0 unless both offered one (see `begin_beside`).
    let shift = |d: &TcpDir| d.scale.load(Relaxed) & 15;
    let own_window = u32::from(own.max_window.load(Relaxed).max(t.window)) << shift(own);
    let other_window = u32::from(other.max_window.load(Relaxed)) << shift(other);
    let own_end = own.end.load(Relaxed);
    let other_end = other.end.load(Relaxed);
    let end = t.seq.wrapping_add(t.payload);
    let good = at_most(t.seq, other.ack.load(Relaxed).wrapping_add(other_window))
        & at_most(own_end.wrapping_sub(other_window + MARGIN), end)
        & at_most(t.ack, other_end)
        & at_most(other_end.wrapping_sub(own_window + MARGIN), t.ack);
    if good {
        store_end(own, own_end, end);
        store_ack(own, t.ack);
        store_window(own, t.window);
    }
    good
}

/// The same for every other case: FIN counted, one window of grace, the other direction perhaps
/// not heard yet.
pub(super) fn fits_with_grace(own: &TcpDir, other: &TcpDir, t: &Tcp) -> bool {
    let (own_window, other_window) = windows(own, other, t.window);
    let own_end = own.end.load(Relaxed);
    let other_end = other.end.load(Relaxed);
    let end = end_of(t);
    let begins_well = if has(other, bits::ACKED) {
        at_most(t.seq, other.ack.load(Relaxed).wrapping_add(other_window))
            || at_most(t.seq, own_end.wrapping_add(other_window))
    } else {
        // only the SYN's window is known, and not what it will count from
        at_most(t.seq, own_end.wrapping_add(other_window + MARGIN))
    };
    let good = begins_well
        && at_most(own_end.wrapping_sub(other_window + MARGIN), end)
        && at_most(t.ack, other_end.wrapping_add(own_window))
        && (at_most(other_end.wrapping_sub(own_window + MARGIN), t.ack)
            || overtaken(own, t, own_window));
    if good {
        store_end(own, own_end, end);
        if at_most(t.ack, other_end) {
            if has(own, bits::ACKED) {
                store_ack(own, t.ack);
            } else {
                own.ack.store(t.ack, Relaxed);
            }
        }
        store_window(own, t.window);
    }
    good
}

/// Whether an acknowledgement that is too old by condition 4 is one that newer ones of its own
/// direction overtook, on the other worker: its receiver takes it if it is at most one window
/// older than they are (RFC 5961 section 5.2).
fn overtaken(own: &TcpDir, t: &Tcp, own_window: u32) -> bool {
    let newest = own.ack.load(Relaxed);
    has(own, bits::ACKED)
        && at_most(t.ack, newest)
        && at_most(newest.wrapping_sub(own_window + MARGIN), t.ack)
}

#[inline]
fn store_end(own: &TcpDir, was: u32, end: u32) {
    if !at_most(end, was) {
        own.end.store(end, Relaxed);
    }
}

#[inline]
fn store_ack(own: &TcpDir, ack: u32) {
    if !at_most(ack, own.ack.load(Relaxed)) {
        own.ack.store(ack, Relaxed);
    }
}

#[inline]
fn store_window(own: &TcpDir, window: u16) {
    if window > own.max_window.load(Relaxed) {
        own.max_window.store(window, Relaxed);
    }
}

/// Whether `ack` acknowledges the SYN of `other`, and of what it sent since (TCP Fast Open) no
/// more than there is.
pub(super) fn acks_syn(other: &TcpDir, ack: u32) -> bool {
    has(other, bits::SEEN)
        && at_most(other.syn.load(Relaxed), ack)
        && at_most(ack, other.end.load(Relaxed))
}

/// Takes a direction's numbers from its SYN, or SYN-ACK, when the other may have been heard.
pub(super) fn begin_beside(own: &TcpDir, other: &TcpDir, t: &Tcp, options: SynOptions) {
    begin(own, t, options);
    if !has(other, bits::SEEN) {
        return;
    }
    // Only one offered to scale, so its windows are what they say.
    for (a, b) in [(own, other), (other, own)] {
        let scale = a.scale.load(Relaxed) & 15;
        if !has(b, bits::SCALED) && scale > 0 {
            let window = u32::from(a.max_window.load(Relaxed)) << scale;
            a.scale.store(a.scale.load(Relaxed) & !15, Relaxed);
            store_window(a, u16::try_from(window).unwrap_or(u16::MAX));
        }
    }
}

/// Takes a direction's numbers from its SYN, or SYN-ACK.
pub(super) fn begin(own: &TcpDir, t: &Tcp, options: SynOptions) {
    let scale = options.window_scale.unwrap_or(0).min(MAX_SCALE);
    let mut flags = bits::SEEN;
    if options.window_scale.is_some() {
        flags |= bits::SCALED;
    }
    if t.flags & tcp_flags::ACK != 0 {
        flags |= bits::ACKED;
    }
    own.end.store(end_of(t), Relaxed);
    own.ack.store(t.ack, Relaxed);
    own.syn.store(t.seq.wrapping_add(1), Relaxed);
    own.max_window.store(in_units(t.window, scale), Relaxed);
    own.scale.store(scale, Relaxed);
    own.flags.store(flags, Release);
}

/// Takes both directions' numbers from a segment of the middle of a connection. Their scales
/// are unknown, so the largest is assumed: windows of up to a gigabyte, at first for both.
pub(super) fn pick_up(own: &TcpDir, other: &TcpDir, t: &Tcp) {
    for (d, end, ack, window) in [
        (own, end_of(t), t.ack, t.window.max(1)),
        (other, t.ack, t.seq, u16::MAX),
    ] {
        d.end.store(end, Relaxed);
        d.ack.store(ack, Relaxed);
        d.syn.store(0, Relaxed);
        d.max_window.store(window, Relaxed);
        d.scale.store(MAX_SCALE, Relaxed);
        d.flags
            .store(bits::SEEN | bits::ACKED | bits::SCALED, Release);
    }
}

/// The direction's highest end.
pub(super) fn end(d: &TcpDir) -> u32 {
    d.end.load(Relaxed)
}

/// The direction's highest acknowledgement.
pub(super) fn acked(d: &TcpDir) -> u32 {
    d.ack.load(Relaxed)
}

/// Number of the first byte behind the direction's last SYN.
pub(super) fn syn_of(d: &TcpDir) -> u32 {
    d.syn.load(Relaxed)
}

/// A SYN or SYN-ACK that came again, perhaps with more data or a larger window.
pub(super) fn extend(own: &TcpDir, t: &Tcp) {
    store_end(own, end(own), end_of(t));
    store_window(own, in_units(t.window, own.scale.load(Relaxed) & 15));
}

/// The window of a SYN, which is not scaled (RFC 7323 section 2.2), in units of the scale,
/// rounded up and at least one.
fn in_units(window: u16, scale: u8) -> u16 {
    let units = u32::from(window).div_ceil(1 << scale).max(1);
    u16::try_from(units).unwrap_or(u16::MAX)
}

/// The first acknowledgement of a direction whose SYN had none.
pub(super) fn acknowledge(own: &TcpDir, t: &Tcp) {
    extend(own, t);
    own.ack.store(t.ack, Relaxed);
    set(own, bits::ACKED);
}

/// Remembers a SYN that passes on an open connection, without touching what is known of it.
pub(super) fn remember_syn(r: &Record, own: &TcpDir, t: &Tcp, options: SynOptions) {
    let data = u16::try_from(t.payload).unwrap_or(u16::MAX);
    r.syn_data.store(data, Relaxed);
    let pending = options.window_scale.unwrap_or(NO_SCALE);
    let scale = (own.scale.load(Relaxed) & 15) | (pending << 4);
    own.syn.store(t.seq.wrapping_add(1), Relaxed);
    own.scale.store(scale, Relaxed);
    set(own, bits::SYN_AGAIN);
}

/// Whether `ack` acknowledges a remembered SYN, and of the data that came with it (RFC 7413) any
/// part.
pub(super) fn acks_syn_again(r: &Record, d: &TcpDir, ack: u32) -> bool {
    let data = u32::from(r.syn_data.load(Relaxed));
    has(d, bits::SYN_AGAIN) && ack.wrapping_sub(syn_of(d)) <= data
}

/// Makes a remembered SYN the beginning of the direction.
pub(super) fn begin_again(r: &Record, d: &TcpDir) {
    let pending = d.scale.load(Relaxed) >> 4;
    let (scale, flags) = if pending == NO_SCALE {
        (0, bits::SEEN)
    } else {
        (pending, bits::SEEN | bits::SCALED)
    };
    let end = syn_of(d).wrapping_add(r.syn_data.load(Relaxed).into());
    d.end.store(end, Relaxed);
    d.max_window.store(1, Relaxed);
    d.scale.store(scale, Relaxed);
    d.flags.store(flags, Release);
}

/// Where a RST of direction `own` lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RstPlace {
    /// At the highest acknowledgement of the other direction, which is what the receiver will
    /// next take (RFC 5961 section 3.2), or behind the last byte of its own direction, which is
    /// where an abort with data in flight puts it.
    Exact,
    /// Behind that acknowledgement, within the window: the receiver would challenge it.
    Inside,
    /// Elsewhere.
    Outside,
}

pub(super) fn place_of_rst(own: &TcpDir, other: &TcpDir, t: &Tcp) -> RstPlace {
    let acked = other.ack.load(Relaxed);
    let heard = has(other, bits::ACKED);
    let (_, window) = windows(own, other, 0);
    if (heard && t.seq == acked) || (has(own, bits::SEEN) && t.seq == own.end.load(Relaxed)) {
        RstPlace::Exact
    } else if heard && at_most(acked, t.seq) && at_most(t.seq, acked.wrapping_add(window)) {
        RstPlace::Inside
    } else {
        RstPlace::Outside
    }
}
