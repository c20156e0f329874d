use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

fn say(text: &str) -> String {
    payload(&hex(text), &VnetHdr::PLAIN)
}

const MACS: &str = "02420a000001 02420a000002";

#[test]
fn arp_in_words() {
    let arp = |op, sender, target| {
        say(&format!(
            "{MACS} 0806 0001 0800 06 04 {op} 02420a000002 {sender} 000000000000 {target}"
        ))
    };
    assert_eq!(
        arp("0001", "0a000002", "0a000001"),
        "ARP who has 10.0.0.1? tell 10.0.0.2 at 02:42:0a:00:00:02"
    );
    assert_eq!(
        arp("0002", "0a000002", "0a000001"),
        "ARP 10.0.0.2 is at 02:42:0a:00:00:02, told to 10.0.0.1"
    );
    assert_eq!(
        arp("0001", "00000000", "0a000001"),
        "ARP probe for 10.0.0.1 by 02:42:0a:00:00:02"
    );
    assert_eq!(
        arp("0001", "0a000002", "0a000002"),
        "ARP announcement: 10.0.0.2 is at 02:42:0a:00:00:02"
    );
}

/// A datagram of one byte whose checksums were computed by hand.
const UDP: &str = "4500001d 00010000 4011 66cb 0a000002 0a000003 00010002 0009 aad4 41";

#[test]
fn udp_and_what_may_be_wrong_with_it() {
    let good = format!("{MACS} 0800 {UDP}");
    assert_eq!(say(&good), "UDP 10.0.0.2:1 > 10.0.0.3:2 len 1 ttl 64");
    assert_eq!(
        say(&good.replace("66cb", "66cc")),
        "UDP 10.0.0.2:1 > 10.0.0.3:2 len 1 ttl 64, IP CHECKSUM WRONG"
    );
    assert_eq!(
        say(&good.replace("aad4 41", "aad4 42")),
        "UDP 10.0.0.2:1 > 10.0.0.3:2 len 1, UDP CHECKSUM WRONG ttl 64"
    );
    assert_eq!(
        say(&good.replace("0800", "8100 0007 0800")),
        "VLAN 7, UDP 10.0.0.2:1 > 10.0.0.3:2 len 1 ttl 64"
    );
    let partial = VnetHdr {
        needs_csum: true,
        csum_start: 34,
        csum_offset: 6,
        ..VnetHdr::PLAIN
    };
    assert_eq!(
        payload(&hex(&good.replace("aad4", "141f")), &partial),
        "UDP 10.0.0.2:1 > 10.0.0.3:2 len 1 ttl 64, checksum to be finished from byte 34 at +6"
    );
    let wrong = payload(&hex(&good), &partial);
    assert!(wrong.contains("UDP CHECKSUM WRONG"), "{wrong}");
}

#[test]
fn what_is_only_bridged_has_a_name_too() {
    assert_eq!(
        say(&format!("{MACS} 88cc 0207")),
        "LLDP, EtherType 0x88cc, 2 bytes"
    );
    assert_eq!(say(&format!("{MACS} 1234 00")), "EtherType 0x1234, 1 bytes");
    let sctp = format!("{MACS} 0800 {}", UDP.replace("4011 66cb", "4084 6658"));
    assert_eq!(say(&sctp), "SCTP 10.0.0.2 > 10.0.0.3 len 9 ttl 64");
}

#[test]
fn an_icmp_error_says_what_it_is_about() {
    let error = format!(
        "{MACS} 0800 4500 0039 0000 0000 4001 66c2 0a000003 0a000002 0303 5050 00000000 {UDP}"
    );
    assert!(
        say(&error).starts_with(
            "ICMP 10.0.0.3 > 10.0.0.2 port unreachable, about (UDP 10.0.0.2:1 > 10.0.0.3:2 len 1)"
        ),
        "{}",
        say(&error)
    );
}

proptest! {
    #[test]
    fn any_bytes_become_one_line(
        mut b in prop::collection::vec(any::<u8>(), 0..90),
        kind in prop::sample::select(vec![0x0800u16, 0x0806, 0x86dd, 0x8100, 0x0100]),
        proto in prop::sample::select(vec![1u8, 6, 17, 50]),
    ) {
        if b.len() > 24 {
            b[12..14].copy_from_slice(&kind.to_be_bytes());
            b[14] = 0x45;
            b[23] = proto;
        }
        let line = frame(&b, &VnetHdr::PLAIN);
        prop_assert!(!line.is_empty() && !line.contains('\n'));
    }
}
