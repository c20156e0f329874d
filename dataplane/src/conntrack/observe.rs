//! What a frame means to the connection that it belongs to: called on hits and by the slow path
//! alike, so that both see one state machine.

use super::tcp;
use crate::base::{Reason, Tick};
use crate::flow::record::flags;
use crate::flow::{Dir, Record};
use crate::frame::L4;
use crate::frame::parse::Tcp;
use crate::frame::parse::tcp_flags::RST;

/// The tracker's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observed {
    /// The frame belongs; nothing but its numbers changed.
    Pass,
    /// The frame belongs and changed the state: the timers may have to follow.
    Changed,
    /// The frame is refused; the connection stays.
    Drop(Reason),
    /// A SYN that begins a new connection on the old one's tuple.
    Reopen,
}

/// [`observe`] of a segment in the steady middle of a connection, in a few lines. False, and nothing
/// done, for anything else.
#[inline(always)]
pub fn observe_steady(r: &Record, dir: Dir, tcp: &Tcp, now: Tick) -> bool {
    if !tcp::steady(r, dir, tcp) {
        return false;
    }
    r.touch(dir, now);
    if dir == Dir::Reply {
        r.set(flags::REPLIED);
    }
    true
}

/// Tracks a frame of `dir`. `header` begins at the L4 header (TCP options are read from SYNs).
#[inline]
pub fn observe(r: &Record, dir: Dir, l4: L4, tcp: &Tcp, header: &[u8], now: Tick) -> Observed {
    let seen = match l4 {
        L4::Tcp => match tcp::segment(r, dir, tcp, header) {
            // A RST that changed nothing is no sign of life (RFC 7857 section 7.1).
            tcp::Verdict::Pass if tcp.flags & RST != 0 => return Observed::Pass,
            tcp::Verdict::Pass => Observed::Pass,
            tcp::Verdict::PassChanged(_) => Observed::Changed,
            tcp::Verdict::Drop(reason) => return Observed::Drop(reason),
            tcp::Verdict::Reopen => return Observed::Reopen,
        },
        _ => {
            observe_plain(r, dir, now);
            return Observed::Pass;
        }
    };
    r.touch(dir, now);
    if dir == Dir::Reply {
        r.set(flags::REPLIED);
    }
    seen
}

/// [`observe`] of anything but TCP, which has no states: it always passes.
#[inline(always)]
pub fn observe_plain(r: &Record, dir: Dir, now: Tick) {
    r.touch(dir, now);
    if dir == Dir::Reply {
        r.set(flags::REPLIED);
    } else if r.has(flags::REPLIED) {
        r.set(flags::ASSURED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::parse::tcp_flags::{ACK, SYN};
    use bytemuck::Zeroable;

    const NOW: Tick = Tick(7);

    fn marks(r: &Record) -> (bool, bool) {
        (r.has(flags::REPLIED), r.has(flags::ASSURED))
    }

    #[test]
    fn a_flow_is_replied_by_its_first_answer_and_assured_by_what_follows() {
        use Dir::{Orig, Reply};
        let r: Record = Zeroable::zeroed();
        for (dir, replied, assured) in [
            (Orig, false, false),
            (Orig, false, false),
            (Reply, true, false),
            (Reply, true, false),
            (Orig, true, true),
            (Reply, true, true),
        ] {
            observe_plain(&r, dir, NOW);
            assert_eq!(marks(&r), (replied, assured));
        }
    }

    #[test]
    fn a_connection_is_replied_by_its_first_answer() {
        let seg = |flags, seq, ack| Tcp {
            seq,
            ack,
            window: 1_000,
            flags,
            header_len: 20,
            payload: 0,
        };
        let header = [0; 20];
        // Opened by a SYN that is repeated.
        let r: Record = Zeroable::zeroed();
        let syn = seg(SYN, 1, 0);
        tcp::open(&r, &syn, None, false).unwrap();
        observe(&r, Dir::Orig, L4::Tcp, &syn, &header, NOW);
        assert!(!r.has(flags::REPLIED));
        observe(&r, Dir::Reply, L4::Tcp, &seg(SYN | ACK, 9, 2), &header, NOW);
        assert!(r.has(flags::REPLIED));
        // Picked up in its middle.
        let r: Record = Zeroable::zeroed();
        tcp::open(&r, &seg(ACK, 100, 200), None, true).unwrap();
        assert!(observe_steady(&r, Dir::Orig, &seg(ACK, 100, 200), NOW));
        assert!(!r.has(flags::REPLIED));
        assert!(observe_steady(&r, Dir::Reply, &seg(ACK, 200, 100), NOW));
        assert!(r.has(flags::REPLIED));
    }
}
