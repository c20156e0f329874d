use super::*;
use proptest::prelude::*;

/// A UDP packet without DF, with these options and identification 0x0102.
fn packet(payload: usize, list: &[u8]) -> Vec<u8> {
    let data: Vec<u8> = (0..payload).map(|i| (i * 31 + i / 256) as u8).collect();
    let mut f = udp(&data);
    f.splice(34..34, list.iter().copied());
    let total = (f.len() as u16 - 14).to_be_bytes();
    let ihl = 0x45 + list.len() as u8 / 4;
    edit_ipv4(
        &mut f,
        &[(0, &[ihl]), (2, &total), (4, &[1, 2]), (6, &[0, 0])],
    );
    f
}

fn cut(f: &[u8], mtu: u16) -> Result<Vec<Vec<u8>>, Reason> {
    let mut out = Vec::new();
    let n = fragment(f, &parsed(f), mtu, |b| out.push(b.to_vec()))?;
    assert_eq!(n, out.len());
    Ok(out)
}

/// Puts fragments together again, checking each; gives the L4 bytes.
fn joined(pieces: &[Vec<u8>], mtu: usize, last_has_more: bool, start: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for (i, f) in pieces.iter().enumerate() {
        let p = parsed(f);
        assert!(p.l3_len as usize <= mtu);
        assert_eq!(f.len(), 14 + p.l3_len as usize);
        assert_eq!((p.ip_id, p.ttl), (0x0102, 9));
        assert_ne!(p.l4_error, Some(Reason::FragMalformed));
        assert_eq!(usize::from(p.frag_off), start + data.len());
        let last = i + 1 == pieces.len();
        assert_eq!(p.has(bits::MF), !last || last_has_more);
        data.extend_from_slice(&f[usize::from(p.l4_off)..]);
    }
    data
}

#[test]
fn pieces_are_as_large_as_may_be() {
    let f = packet(3000, &[]);
    let pieces = cut(&f, 1500).unwrap();
    let lens: Vec<u32> = pieces.iter().map(|b| parsed(b).l3_len).collect();
    assert_eq!(lens, [1500, 1500, 3008 - 2 * 1480 + 20]);
    assert_eq!(joined(&pieces, 1500, false, 0), f[34..]);
    // MTU that is not 20 plus a multiple of 8.
    let lens: Vec<u32> = cut(&f, 1499)
        .unwrap()
        .iter()
        .map(|b| parsed(b).l3_len)
        .collect();
    assert_eq!(lens, [1492, 1492, 3008 - 2 * 1472 + 20]);
}

#[test]
fn what_fits_passes_without_padding() {
    let mut f = packet(10, &[]);
    let whole = f.clone();
    f.resize(80, 0);
    assert_eq!(cut(&f, 38).unwrap(), [whole]);
}

#[test]
fn refusals() {
    let mut f = packet(3000, &[]);
    assert_eq!(cut(&f, 27).err(), Some(Reason::MtuExceeded));
    assert_eq!(cut(&f, 28).map(|v| v.len()), Ok(376));
    edit_ipv4(&mut f, &[(6, &[0x40, 0])]);
    assert_eq!(cut(&f, 1500).err(), Some(Reason::MtuExceeded));
    assert_eq!(cut(&f, 3028).map(|v| v.len()), Ok(1));
    let arp = arp_announcement(HOST, HOST_IP);
    assert_eq!(cut(arp.bytes(), 1500).err(), Some(Reason::NotRouted));
}

#[test]
fn only_copied_options_go_into_later_fragments() {
    // Record route (not copied), router alert (copied), padding.
    let list = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 1, 0];
    let f = packet(1000, &list);
    let pieces = cut(&f, 500).unwrap();
    assert_eq!(joined(&pieces, 500, false, 0), f[46..]);
    assert_eq!(&pieces[0][34..46], &list);
    assert_eq!(parsed(&pieces[0]).l4_off, 46);
    for later in &pieces[1..] {
        assert_eq!(parsed(later).l4_off, 38);
        assert_eq!(&later[34..38], &[148, 4, 0, 1]);
    }
    // None copied: a plain header.
    let pieces = cut(&packet(1000, &[7, 7, 4, 0, 0, 0, 0, 0]), 500).unwrap();
    assert_eq!(parsed(&pieces[1]).l4_off, 34);
    // A copied one behind a malformed one is lost with it, and nothing breaks.
    let pieces = cut(&packet(1000, &[7, 99, 148, 4]), 500).unwrap();
    assert_eq!(parsed(&pieces[1]).l4_off, 34);
}

#[test]
fn fragments_of_fragments() {
    let f = packet(4000, &[]);
    let whole = cut(&f, 1500).unwrap();
    let finer: Vec<Vec<u8>> = whole.iter().flat_map(|b| cut(b, 600).unwrap()).collect();
    assert!(finer.len() > whole.len());
    assert_eq!(joined(&finer, 600, false, 0), f[34..]);
    // The middle one alone: its own offset, and more to come behind its last piece.
    let middle = cut(&whole[1], 600).unwrap();
    assert_eq!(joined(&middle, 600, true, 1480), whole[1][34..]);
}

#[test]
fn partial_checksums_are_finished_first() {
    let f = packet(3000, &[]);
    let mut partial = f.clone();
    let pseudo = checksum::pseudo_header_v4(HOST_IP, FAR, 17, 3008);
    partial[40..42].copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
    partial.extend([0xee; 7]); // padding is not summed
    let hdr = VnetHdr {
        needs_csum: true,
        csum_start: 34,
        csum_offset: 6,
        ..VnetHdr::PLAIN
    };
    let mut parts = Vec::new();
    fragment_any(&mut Frame::with_hdr(&partial, hdr), 1500, &mut parts).unwrap();
    assert!(parts.iter().all(|f| f.hdr == VnetHdr::PLAIN));
    let pieces: Vec<Vec<u8>> = parts.iter().map(|f| f.bytes().to_vec()).collect();
    assert_eq!(joined(&pieces, 1500, false, 0), f[34..]);

    let hdr = VnetHdr {
        gso: crate::frame::Gso::UdpL4,
        gso_size: 1000,
        ..hdr
    };
    let r = fragment_any(&mut Frame::with_hdr(&partial, hdr), 900, &mut parts);
    assert_eq!(r, Err(Reason::SegmentFailed));
}

proptest! {
    #[test]
    fn nothing_is_lost(
        payload in 0usize..9000, mtu in 68u16..2000, words in 0usize..10, tagged: bool,
        seed in proptest::collection::vec(any::<u8>(), 40),
    ) {
        let mut f = packet(payload, &seed[..words * 4]);
        let l4 = f[34 + words * 4..].to_vec();
        if tagged {
            f.splice(12..12, [0x81, 0, 0, 1]);
        }
        let mut pieces = Vec::new();
        fragment(&f, &parsed(&f), mtu, |b| pieces.push(b.to_vec())).unwrap();
        for b in &mut pieces {
            if tagged {
                prop_assert_eq!(parsed(b).vid, 1);
                b.drain(12..16);
            }
        }
        prop_assert_eq!(joined(&pieces, usize::from(mtu), false, 0), l4);
    }
}
