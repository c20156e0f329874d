use super::*;
use proptest::prelude::*;

fn sample() -> Capture {
    let packet = |at, interface, n: u8, vnet, comment: Option<&str>| Packet {
        at,
        interface,
        bytes: (0..n).collect(),
        original_len: n.into(),
        vnet,
        comment: comment.map(str::to_owned),
    };
    Capture {
        interfaces: vec![
            Interface::new(
                "web",
                Some(Mac([2, 0, 0, 0, 0, 1])),
                Some([10, 0, 0, 2].into()),
            ),
            Interface::new("uplink", None, None),
        ],
        packets: vec![
            packet(1_700_000_000_123_456_789, 1, 61, [0; 10], None),
            packet(
                1_700_000_000_123_456_790,
                0,
                60,
                [1; 10],
                Some("a good one"),
            ),
            packet(5, 0, 0, [0; 10], None),
        ],
        trouble: None,
    }
}

fn bytes(c: &Capture) -> Vec<u8> {
    let mut out = Vec::new();
    write(c, &mut out).unwrap();
    out
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(read(&bytes(&sample())), Ok(sample()));
}

/// A classic file in either byte order.
fn classic(big: bool, magic: u32, link: u32) -> Vec<u8> {
    let n32 = |n: u32| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let mut f = n32(magic).to_vec();
    f.extend([0; 12]);
    f.extend(n32(96));
    f.extend(n32(link));
    f.extend([n32(7), n32(8), n32(3), n32(1500)].concat());
    f.extend([1, 2, 3]);
    f
}

#[test]
fn classic_files_of_both_orders_and_clocks() {
    for big in [false, true] {
        for (magic, ns) in [(0xa1b2_c3d4, 8_000), (0xa1b2_3c4d, 8)] {
            let c = read(&classic(big, magic, 1)).unwrap();
            assert_eq!(c.packets.len(), 1);
            let p = &c.packets[0];
            assert_eq!(p.at, 7_000_000_000 + ns);
            // Cut by the snap length, as tcpdump does.
            assert_eq!((p.bytes.as_slice(), p.original_len), (&[1, 2, 3][..], 1500));
        }
        assert_eq!(
            read(&classic(big, 0xa1b2_c3d4, 113)),
            Err(BadCapture::LinkType(113))
        );
    }
}

#[test]
fn the_clock_of_each_interface_counts() {
    let mut i = Interface::new("x", None, None);
    for (ticks, n, ns) in [
        (1_000_000, 5, 5_000),
        (1 << 10, 1 << 9, 500_000_000),
        (1, u64::MAX, u64::MAX),
        (u64::MAX, 1, 0),
    ] {
        i.ticks = ticks;
        assert_eq!(i.nanoseconds(n), ns);
    }
    i.ticks = 1_000_000_000;
    i.offset = -1;
    assert_eq!(i.nanoseconds(1_500_000_000), 500_000_000);
    i.offset = i64::MAX;
    assert_eq!(i.nanoseconds(1), u64::MAX);
}

#[test]
fn a_file_cut_anywhere_gives_the_packets_in_front() {
    for whole in [bytes(&sample()), classic(true, 0xa1b2_c3d4, 1)] {
        let all = read(&whole).unwrap();
        for n in 0..whole.len() {
            let Ok(c) = read(&whole[..n]) else {
                continue;
            };
            assert!(all.packets.starts_with(&c.packets), "cut to {n}");
        }
    }
    let whole = bytes(&sample());
    let c = read(&whole[..whole.len() - 1]).unwrap();
    assert_eq!(c.packets.len(), 2);
    assert_eq!(c.trouble, Some(BadCapture::CutShort("a block")));
    assert_eq!(read(b"%PDF-1.4"), Err(BadCapture::NotACapture));
}

#[test]
fn sections_begin_their_interfaces_anew() {
    let mut two = bytes(&sample());
    two.extend(bytes(&sample()));
    let c = read(&two).unwrap();
    assert_eq!((c.interfaces.len(), c.packets.len()), (4, 6));
    assert_eq!(c.packets[3].interface, 3);
}

#[test]
fn what_is_no_capture_says_what_to_do() {
    let says = |file: &[u8]| read(file).unwrap_err().to_string();
    assert_eq!(says(b""), "the file is empty: nothing was captured");
    assert_eq!(
        says(&[0x1f, 0x8b, 8, 0, 0, 0]),
        "this is compressed: unpack it first, as by gunzip"
    );
    assert_eq!(
        says(b"snoop\0\0\0\0\0\0\x02"),
        "this is a capture in Sun's snoop format: convert it first, as by editcap -F pcapng IN OUT"
    );
    assert_eq!(
        says(&classic(true, 0xa1b2_cd34, 1)),
        "this is a capture in a modified pcap format: convert it first, as by editcap -F pcapng IN OUT"
    );
    assert_eq!(
        says(&classic(false, 0xa1b2_c3d4, 276)),
        "the packets are Linux cooked ones, of 'any' (link type 276), and a switch takes Ethernet \
         frames: capture on one interface, not on 'any'"
    );
    assert_eq!(
        says(&classic(false, 0xa1b2_c3d4, 105)),
        "the packets are 802.11 frames (link type 105), and a switch takes Ethernet frames: capture \
         on an Ethernet interface"
    );
}

#[test]
fn packets_of_another_kind_beside_ethernet_are_counted() {
    let mut c = sample();
    c.interfaces[1].set_link(113);
    let mut file = bytes(&c);
    // The writer's interfaces are all Ethernet: the second is made what it was meant to be.
    let second = file
        .windows(12)
        .rposition(|w| w.starts_with(&[1, 0, 0, 0]) && w[8..] == [1, 0, 0, 0])
        .unwrap();
    file[second + 8] = 113;
    let read = read(&file).unwrap();
    assert_eq!((read.packets.len(), read.trouble.as_ref()), (2, None));
    assert!(read.packets.iter().all(|p| p.interface == 0));
    assert_eq!(read.interfaces[1].passed_over, 1);
    assert_eq!(
        read.interfaces[1].refused(),
        Some(BadCapture::LinkType(113))
    );
    assert_eq!(read.interfaces[0].refused(), None);
}

proptest! {
    #[test]
    fn never_panics(
        at in prop::collection::vec((0usize..400, any::<u8>()), 0..8),
        big in any::<bool>(),
        ng in any::<bool>(),
    ) {
        let mut f = if ng { bytes(&sample()) } else { classic(big, 0xa1b2_c3d4, 1) };
        for (i, v) in at {
            if let Some(b) = f.get_mut(i) {
                *b = v;
            }
        }
        let _ = read(&f);
    }
}
