//! Internet checksums (RFC 1071) and how to change them without summing again (RFC 1624).
//!
//! Read RFC 1624 section 3 first. All 16-bit values here are in host order, so a checksum field is
//! read with `u16::from_be_bytes` and written with `to_be_bytes`.
//!
//! A checksum field comes in two kinds. A *finished* one holds the complement of the one's
//! complement sum. A *partial* one (`VIRTIO_NET_HDR_F_NEEDS_CSUM`) holds the sum of the
//! pseudo-header, not complemented; the payload is added later by somebody else. A change of the
//! data is a *delta*, the same number for both kinds: [`apply`] puts it into a finished field,
//! [`apply_partial`] into a partial one. A partial field knows nothing of ports, so its delta is
//! made of the addresses (and the length) alone.
//!
//! In one's complement arithmetic 0 and 0xFFFF are the same number. Deltas are normalised to 0, so
//! 0 is the delta that changes nothing, bit for bit.

use std::net::{Ipv4Addr, Ipv6Addr};

/// One's complement sum of `bytes` as big-endian 16-bit words on top of `initial`. The result is
/// at most 0x1FFFE, so thousands of them can be added as `u32` before a [`fold`]. An
/// odd last byte counts as the upper half of a word: of data in several pieces only the last may
/// have an odd length. 0 comes out only when all that went in is 0.
#[inline]
pub fn sum(bytes: &[u8], initial: u32) -> u32 {
    // The sum may be taken in any byte order and swapped at the end (RFC 1071 section 2 B), and
    // in words of any even size (section 2 C).
    let mut acc: u64 = 0;
    let mut rest = bytes;
    if bytes.len() >= 64 {
        let mut lanes = [0u64; 8];
        while let Some((block, tail)) = rest.split_first_chunk::<32>() {
            let (words, _) = block.as_chunks::<4>();
            for (lane, w) in lanes.iter_mut().zip(words) {
                *lane += u64::from(u32::from_ne_bytes(*w));
            }
            rest = tail;
        }
        acc = lanes.iter().sum();
    }
    while let Some((w, tail)) = rest.split_first_chunk::<4>() {
        acc += u64::from(u32::from_ne_bytes(*w));
        rest = tail;
    }
    match *rest {
        [] => {}
        [a] => acc += u64::from(u16::from_ne_bytes([a, 0])),
        [a, b] => acc += u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, ..] => {
            acc += u64::from(u16::from_ne_bytes([a, b])) + u64::from(u16::from_ne_bytes([c, 0]));
        }
    }
    let acc = (acc & 0xffff_ffff) + (acc >> 32);
    let acc = (acc & 0xffff_ffff) + (acc >> 32);
    let words = u16::from_be(fold(acc as u32));
    u32::from(fold(initial)) + u32::from(words)
}

/// A 32-bit sum as 16 bits, carries added back. 0 only for 0.
#[inline]
pub const fn fold(sum: u32) -> u16 {
    let s = (sum & 0xffff) + (sum >> 16);
    ((s & 0xffff) + (s >> 16)) as u16
}

/// The checksum field for a sum: folded and complemented.
#[inline]
pub const fn finish(sum: u32) -> u16 {
    !fold(sum)
}

/// Checksum of an IPv4 header of any length with the checksum field counted as it stands: over a
/// header whose field is zero it is the value to store, over a valid header it is 0.
#[inline]
pub fn ipv4_header(header: &[u8]) -> u16 {
    finish(sum(header, 0))
}

/// Whether [`ipv4_header`] is 0 for a header without options, that is (RFC 1071), whether its words
/// add up to a multiple of 2^16 - 1, in whichever byte order: one multiplication tells. A header of
/// zeros, which no version begins, is not to be asked about.
#[inline(always)]
pub const fn ipv4_header_20_right(h: &[u8; 20]) -> bool {
    let mut sum = 0u64;
    let mut at = 0;
    while at < 20 {
        sum += u32::from_ne_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]) as u64;
        at += 4;
    }
    sum.is_multiple_of(0xffff)
}

/// Sum of the pseudo-header of TCP and UDP over IPv4 (RFC 9293 section 3.1); `len` is that of the
/// L4 header and payload. Not folded, not complemented.
#[inline]
pub fn pseudo_header_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, len: u32) -> u32 {
    words(src.to_bits()) + words(dst.to_bits()) + u32::from(proto) + words(len)
}

/// The same over IPv6 (RFC 8200 section 8.1).
#[inline]
pub fn pseudo_header_v6(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, len: u32) -> u32 {
    let addresses = sum(&dst.octets(), sum(&src.octets(), 0));
    addresses + u32::from(proto) + words(len)
}

const fn words(v: u32) -> u32 {
    (v >> 16) + (v & 0xffff)
}

/// 0xFFFF is zero too; only one of the two shall stand for "no change".
const fn normal(v: u16) -> u16 {
    if v == 0xffff { 0 } else { v }
}

/// Delta of a 16-bit word that changes (at an even offset from the start of the summed data).
#[inline]
pub const fn delta_u16(old: u16, new: u16) -> u16 {
    normal(fold((!old) as u32 + new as u32))
}

/// Delta of a 32-bit word that changes, for example an IPv4 address.
#[inline]
pub const fn delta_u32(old: u32, new: u32) -> u16 {
    normal(fold(words(!old) + words(new)))
}

/// Both changes in one delta.
#[inline]
#[must_use]
pub const fn combine(a: u16, b: u16) -> u16 {
    normal(fold(a as u32 + b as u32))
}

/// The delta that undoes this one.
#[inline]
#[must_use]
pub const fn negate(delta: u16) -> u16 {
    normal(!delta)
}

/// A finished checksum field after the change (RFC 1624 equation 3). Equal to a new computation
/// for every field that a computation can give.
#[inline]
#[must_use]
pub const fn apply(field: u16, delta: u16) -> u16 {
    let (sum, carry) = (!field).overflowing_add(delta);
    !sum.wrapping_add(carry as u16)
}

/// A partial checksum field (a pseudo-header sum, not complemented) after the change.
#[inline]
#[must_use]
pub const fn apply_partial(field: u16, delta: u16) -> u16 {
    fold(field as u32 + delta as u32)
}

/// [`apply`] for UDP over IPv4 (RFC 768): 0 says "no checksum" and stays, and a checksum that
/// comes out as 0 is sent as 0xFFFF.
#[inline]
#[must_use]
pub const fn apply_udp(field: u16, delta: u16) -> u16 {
    if field == 0 {
        return 0;
    }
    udp_field(apply(field, delta))
}

/// A computed UDP checksum as it is sent: 0xFFFF instead of 0 (RFC 768).
#[inline]
pub const fn udp_field(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word.
    fn plain(bytes: &[u8]) -> u16 {
        let mut s = 0u32;
        for pair in bytes.chunks(2) {
            let w = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            s += u32::from(w);
            s = (s & 0xffff) + (s >> 16);
        }
        s as u16
    }

    #[test]
    fn example_of_rfc_1071() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&data, 0)), 0xddf2);
        assert_eq!(finish(sum(&data, 0)), !0xddf2);
    }

    #[test]
    fn example_of_rfc_1624() {
        // Section 4: HC 0xDD2F, m 0x5555, m' 0x3285 gives 0x0000 by equation 3.
        assert_eq!(apply(0xdd2f, delta_u16(0x5555, 0x3285)), 0x0000);
    }

    #[test]
    fn known_ipv4_header() {
        let mut h = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(ipv4_header(&h), 0xb861);
        h[10..12].copy_from_slice(&0xb861u16.to_be_bytes());
        assert_eq!(ipv4_header(&h), 0);
    }

    #[test]
    fn longest_sums_do_not_overflow() {
        for len in [65_535, 65_536, 65_558] {
            let ones = vec![0xff; len];
            assert_eq!(fold(sum(&ones, u32::MAX)), {
                let w = u32::from(plain(&ones)) + u32::from(fold(u32::MAX));
                fold(w)
            });
        }
        assert_eq!(sum(&[0; 100], 0), 0);
    }

    #[test]
    fn zero_is_neutral() {
        for f in 0..=u16::MAX {
            assert_eq!(apply(f, 0), f);
            assert_eq!(apply_partial(f, 0), f);
            assert_eq!(apply_udp(f, 0), f);
            assert_eq!(delta_u16(f, f), 0);
            assert_eq!(combine(f, negate(f)), 0);
            assert_eq!(combine(f, 0), normal(f));
        }
    }

    #[test]
    fn udp_rules() {
        assert_eq!(apply_udp(0, delta_u16(1, 2)), 0);
        // A change that makes the finished checksum 0.
        let field = 0xdd2f;
        let d = delta_u16(0x5555, 0x3285);
        assert_eq!((apply(field, d), apply_udp(field, d)), (0, 0xffff));
    }

    #[test]
    fn every_single_word_change() {
        // All pairs over the edge values, with a rest that makes each sum possible.
        let edge = [0u16, 1, 2, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff];
        for rest in edge {
            for old in edge {
                for new in edge {
                    if (rest, old) == (0, 0) || (rest, new) == (0, 0) {
                        continue; // all-zero data: the one case with two right answers
                    }
                    let (b, a) = (
                        u32::from(rest) + u32::from(old),
                        u32::from(rest) + u32::from(new),
                    );
                    let d = delta_u16(old, new);
                    assert_eq!(apply(finish(b), d), finish(a), "{rest:x} {old:x} {new:x}");
                    assert_eq!(
                        apply_partial(fold(b), d),
                        fold(a),
                        "{rest:x} {old:x} {new:x}"
                    );
                }
            }
        }
    }

    /// A small generator (splitmix64), because 10^5 cases by proptest alone take a minute. One in
    /// two words is an edge value.
    struct Draw(u64);

    impl Draw {
        fn word(&mut self) -> u16 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            match z >> 61 {
                0 => 0,
                1 => 0xffff,
                2 => 0xfffe,
                3 => 1,
                _ => z as u16,
            }
        }

        fn dword(&mut self) -> u32 {
            (u32::from(self.word()) << 16) | u32::from(self.word())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn sum_is_the_definition(data in proptest::collection::vec(any::<u8>(), 0..600), initial: u32) {
            let s = u32::from(plain(&data)) + u32::from(fold(initial));
            prop_assert_eq!(fold(sum(&data, initial)), fold(s));
        }

        #[test]
        fn even_pieces_add_up(data in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..150) {
            let (a, b) = data.split_at((at * 2).min(data.len() & !1));
            prop_assert_eq!(fold(sum(b, sum(a, 0))), fold(sum(&data, 0)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_200))]

        /// A segment whose addresses and ports change: finished and partial fields, changed by
        /// deltas, equal those computed anew. 100 segments a case.
        #[test]
        fn deltas_equal_recomputation(seed: u64, udp: bool) {
            let mut draw = Draw(seed);
            let proto = if udp { 17 } else { 6 };
            for _ in 0..100 {
                let (src, dst) = ([draw.dword(), draw.dword()], [draw.dword(), draw.dword()]);
                let (sport, dport) = ([draw.word(), draw.word()], [draw.word(), draw.word()]);
                let rest = draw.dword().to_be_bytes();
                let len = u32::from(draw.word());
                let pseudo = |i: usize| {
                    let (s, d) = (Ipv4Addr::from_bits(src[i]), Ipv4Addr::from_bits(dst[i]));
                    pseudo_header_v4(s, d, proto, len)
                };
                let full = |i: usize| {
                    let mut seg = [0; 8];
                    seg[..2].copy_from_slice(&sport[i].to_be_bytes());
                    seg[2..4].copy_from_slice(&dport[i].to_be_bytes());
                    seg[4..].copy_from_slice(&rest);
                    finish(sum(&seg, pseudo(i)))
                };
                let addresses = combine(delta_u32(src[0], src[1]), delta_u32(dst[0], dst[1]));
                let ports = combine(delta_u16(sport[0], sport[1]), delta_u16(dport[0], dport[1]));
                let all = combine(addresses, ports);

                prop_assert_eq!(apply(full(0), all), full(1));
                prop_assert_eq!(apply_udp(udp_field(full(0)), all), udp_field(full(1)));
                prop_assert_eq!(apply(full(1), negate(all)), full(0));
                prop_assert_eq!(apply_partial(fold(pseudo(0)), addresses), fold(pseudo(1)));
            }
        }
    }
}
