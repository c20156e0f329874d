//! RFC 3022 section 4.1, RFC 1624, RFC 768: checksums are changed, not computed anew, and come
//! out the same.

use crate::common::pass;
use dataplane::base::Tuple;
use dataplane::frame::checksum;
use dataplane::port::fault::Rng;
use std::net::Ipv4Addr;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{FAR, Lab, WEB};

/// What a sum by definition gives for these words.
fn full(words: &[u16]) -> u16 {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
    !naive_sum(&[&bytes])
}

/// Words that are often 0 or 0xFFFF, where one's complement has two zeros.
fn word(rng: &mut Rng) -> u16 {
    match rng.next_u64() % 8 {
        0 => 0,
        1 => 0xffff,
        2 => 1,
        3 => 0xfffe,
        _ => rng.next_u64() as u16,
    }
}

#[test]
fn rfc_1624_a_million_random_edits_equal_the_full_sum() {
    let mut rng = Rng::new(1_624);
    let mut words = [0u16; 12];
    words.iter_mut().for_each(|w| *w = word(&mut rng));
    // A header's first word is never 0, nor is a pseudo-header's protocol.
    words[0] = 0x4500;
    let mut field = full(&words);
    for n in 0..1_000_000u32 {
        let i = 1 + rng.next_u64() as usize % 11;
        if n % 3 == 0 && i < 11 {
            let old = u32::from(words[i]) << 16 | u32::from(words[i + 1]);
            (words[i], words[i + 1]) = (word(&mut rng), word(&mut rng));
            let new = u32::from(words[i]) << 16 | u32::from(words[i + 1]);
            field = checksum::apply(field, checksum::delta_u32(old, new));
        } else {
            let old = words[i];
            words[i] = word(&mut rng);
            field = checksum::apply(field, checksum::delta_u16(old, words[i]));
        }
        assert_eq!(field, full(&words), "edit {n}: {words:04x?}");
    }
}

#[test]
fn rfc_3022_translated_segments_have_the_checksum_of_a_new_computation() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let mut rng = Rng::new(3_022);
    for n in 0..500u16 {
        let data: Vec<u8> = (0..rng.next_u64() % 200)
            .map(|_| rng.next_u64() as u8)
            .collect();
        let dst = Ipv4Addr::from_bits(0xcb00_7100 | (rng.next_u64() as u32 & 0xff));
        let t = udp_tuple(WEB, 2_000 + n, dst, word(&mut rng));
        // `pass` gives only frames whose sums were recomputed.
        let seen = pass(&mut lab, &web, &t, &udp(&t, &data), &up);
        assert_eq!(seen.l4(), udp(&seen.tuple(), &data));
        let back = seen.tuple().reversed();
        let seen = pass(&mut lab, &up, &back, &udp(&back, &data), &web);
        assert_eq!(seen.l4(), udp(&t.reversed(), &data));
    }
}

#[test]
fn rfc_768_no_checksum_stays_none() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 2_000, FAR, 53);
    let mut l4 = udp(&t, b"x");
    l4[6..8].copy_from_slice(&[0, 0]);
    let seen = pass(&mut lab, &web, &t, &l4, &up);
    assert_eq!(seen.l4()[6..8], [0, 0]);
    let back = seen.tuple().reversed();
    let mut l4 = udp(&back, b"y");
    l4[6..8].copy_from_slice(&[0, 0]);
    assert_eq!(pass(&mut lab, &up, &back, &l4, &web).l4()[6..8], [0, 0]);
}

/// The payload that makes a datagram's sum 0xFFFF, so that its checksum would be 0.
fn zero_sum(t: &Tuple) -> [u8; 2] {
    let with_zero = udp(t, &[0, 0]);
    [with_zero[6], with_zero[7]]
}

#[test]
fn rfc_768_a_checksum_that_comes_out_as_0_is_sent_as_ffff() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 2_000, FAR, 53);
    let outside = pass(&mut lab, &web, &t, &udp(&t, b""), &up).tuple();
    let data = zero_sum(&outside);
    let seen = pass(&mut lab, &web, &t, &udp(&t, &data), &up);
    assert_eq!(seen.l4()[6..8], [0xff, 0xff]);
}
