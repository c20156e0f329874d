//! By which queue of a TAP a flow is written, where several workers have one each.
//!
//! The kernel gives a flow's frames to the queue by which its answers were written last
//! (`tun_flow_update`, drivers/net/tun.c). Would each worker write by its own, two containers that
//! talk with each other could chase one another for good: while a frame of the one is in the first
//! worker's hands and one of the other in the second's, each moves the other's next frames to itself,
//! and what a worker still has in hand is overtaken. So the addresses and ports say where a flow is at
//! home, for both directions the same, and whoever writes it writes it by the queue of that place.

use crate::base::bytes::{be16, be32, byte};

/// The queue of the flow that a frame with these first bytes belongs to; `None` for what is no IP
/// packet, of which it does not matter.
pub(super) fn home(head: &[u8], queues: usize) -> Option<usize> {
    const TAGS: [u16; 2] = [0x8100, 0x88a8];
    let mut l3 = 14;
    while l3 < 22 && TAGS.contains(&be16(head, l3 - 2)) {
        l3 += 4;
    }
    let words = |at: usize, n: usize| (0..n).fold(0, |x, i| x ^ be32(head, at + 4 * i));
    let (addresses, l4, proto) = match be16(head, l3 - 2) {
        0x0800 => {
            let whole = be16(head, l3 + 6) & 0x3fff == 0;
            let l4 = l3 + usize::from(byte(head, l3) & 15) * 4;
            // Fragments have no ports, but for the first.
            let proto = if whole { byte(head, l3 + 9) } else { 0 };
            (words(l3 + 12, 2), l4, proto)
        }
        0x86dd => (words(l3 + 8, 8), l3 + 40, byte(head, l3 + 6)),
        _ => return None,
    };
    let ports = match proto {
        6 | 17 => be16(head, l4) ^ be16(head, l4 + 2),
        _ => 0,
    };
    // Fibonacci hashing: the upper bits of a product depend on all of the lower ones. Two factors, since
    // addresses and ports may well count up together.
    let hash = addresses.wrapping_mul(0x9e37_79b9) ^ u32::from(ports).wrapping_mul(0x85eb_ca6b);
    Some(((u64::from(hash) * queues as u64) >> 32) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{in_new_netns, set_up};
    use super::super::{packet, tap};
    use super::*;
    use crate::frame::{Batch, VnetHdr};
    use crate::port::PortQueue;
    use crate::port::filter::nothing;
    use crate::port::testing::Spec;
    use std::io::IoSlice;

    /// The same frame the other way.
    fn answer(frame: &[u8], l3: usize, v6: bool) -> Vec<u8> {
        let mut b = frame.to_vec();
        let (at, len) = if v6 { (l3 + 8, 16) } else { (l3 + 12, 4) };
        let l4 = at + 2 * len;
        for (at, len) in [(at, len), (l4, 2)] {
            let (source, rest) = b[at..].split_at_mut(len);
            source.swap_with_slice(&mut rest[..len]);
        }
        b
    }

    #[test]
    fn both_directions_are_at_home_in_one_place_and_flows_in_all() {
        for (v6, tags) in [
            (false, vec![]),
            (true, vec![]),
            (false, vec![(0x8100, 7)]),
            (false, vec![(0x88a8, 7), (0x8100, 8)]),
        ] {
            for tcp in [true, false] {
                let mut seen = [0; 3];
                for flow in 0..=255 {
                    let spec = Spec {
                        v6,
                        tcp,
                        flow,
                        tags: tags.clone(),
                        payload: vec![1; 20],
                        ..Spec::default()
                    };
                    let frame = spec.finished();
                    let at = home(&frame, 3).unwrap();
                    let back = answer(&frame, 14 + 4 * tags.len(), v6);
                    assert_ne!(frame, back);
                    assert_eq!(home(&back, 3), Some(at));
                    assert_eq!(home(&frame, 1), Some(0));
                    seen[at] += 1;
                }
                assert!(seen.iter().all(|n| *n > 40), "{v6} {tags:?} {seen:?}");
            }
        }
    }

    #[test]
    fn fragments_are_at_home_with_each_other_and_stumps_anywhere() {
        let mut first = Spec::default().finished();
        first[20] |= 0x20;
        let mut second = first.clone();
        second[20..22].copy_from_slice(&[0, 5]);
        second[34..38].fill(0x77);
        assert_eq!(home(&first, 1000), home(&second, 1000));
        for len in 0..first.len() {
            assert!(home(&first[..len], 4).is_none_or(|at| at < 4));
        }
        assert_eq!(home(&[0xff; 60], 4), None);
    }

    /// Of several workers one reads a flow, whoever of them writes it.
    #[test]
    fn a_flow_is_read_by_one_worker() {
        in_new_netns(|| {
            let mut t = tap::create("t0", 2, tap::Offload::AUTO).unwrap();
            set_up("t0", true);
            // SAFETY: a string that ends in a zero byte.
            let index = unsafe { libc::if_nametoindex(c"t0".as_ptr()) };
            let (mut kernel, _) = packet::open(index, 1, &nothing()).unwrap();
            let mut batch = Batch::default();
            let mut read_by = [0; 2];
            for flow in 0..64 {
                let there = Spec {
                    flow,
                    payload: vec![1; 20],
                    ..Spec::default()
                }
                .finished();
                let back = answer(&there, 14, false);
                let mut reader = None;
                for writer in [0, 1, 1, 0] {
                    t.queues[writer]
                        .send(&VnetHdr::PLAIN, &[IoSlice::new(&there)])
                        .unwrap();
                    kernel[0]
                        .send(&VnetHdr::PLAIN, &[IoSlice::new(&back)])
                        .unwrap();
                    for (n, q) in t.queues.iter_mut().enumerate() {
                        batch.clear();
                        q.recv(&mut batch, usize::MAX).unwrap();
                        if batch.frames().iter().any(|f| f.bytes() == back) {
                            assert_eq!(*reader.get_or_insert(n), n, "flow {flow} moved");
                            read_by[n] += 1;
                        }
                    }
                }
            }
            assert_eq!(read_by[0] + read_by[1], 4 * 64);
            assert!(read_by.iter().all(|n| *n >= 4 * 16), "{read_by:?}");
        });
    }
}
