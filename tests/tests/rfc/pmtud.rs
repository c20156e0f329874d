//! Path-MTU discovery end to end (RFC 1191, RFC 4821's reasons): no black hole, for superframes
//! too.

use crate::common::{about, narrow_uplink, open, pass};
use dataplane::base::{Proto, Reason};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, PEER, UP, WEB, config};

/// A sender that halves to what it is told, as RFC 1191 section 3 has it: everything arrives.
#[test]
fn a_sender_that_obeys_gets_everything_through_a_narrow_uplink() {
    let mut lab = Lab::ready_with(narrow_uplink(1_280));
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    let data: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
    let (mut mss, mut at, mut told) = (1_460, 0, 0);
    let mut arrived = Vec::new();
    while at < data.len() {
        let end = (at + mss).min(data.len());
        let l4 = tcp(&c.out, 101 + at as u32, 901, ACK, &data[at..end]);
        lab.route(&web, &c.out, &l4);
        let mut errors = lab.got(&web);
        if let Some(e) = errors.pop() {
            let (kind, code, rest) = e.icmp();
            assert_eq!((kind, code, e.inner().tuple), (3, 4, c.out));
            mss = usize::from(u16::from_be_bytes([rest[2], rest[3]])) - 40;
            told += 1;
            continue;
        }
        arrived.extend_from_slice(lab.only(&up).data());
        at = end;
        assert!(c.answer(&mut lab, 901, 101 + at as u32, ACK, b""));
    }
    assert_eq!((arrived == data, told, mss), (true, 1, 1_240));
}

/// The same with superframes: it is their segments that have to fit.
#[test]
fn a_sender_of_superframes_is_told_and_gets_everything_through() {
    let mut lab = Lab::ready_with(narrow_uplink(1_280));
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    let data: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
    let f = web.routed(&Ip::default(), &c.out, &tcp(&c.out, 101, 901, ACK, &data));
    let (bytes, hdr) = superframe(&f, &c.out, 1_460);
    lab.send_hdr(&web, &bytes, hdr);
    let e = lab.only(&web);
    assert_eq!((e.icmp(), e.inner().tuple), ((3, 4, [0, 0, 5, 0]), c.out));
    assert_eq!(e.inner().seq, 101, "the sender knows which segment it was");
    assert_eq!(lab.drops(Reason::MtuExceeded), 1);
    let (bytes, hdr) = superframe(&f, &c.out, 1_240);
    lab.send_hdr(&web, &bytes, hdr);
    let got: Vec<u8> = lab
        .got(&up)
        .iter()
        .flat_map(|g| g.data().to_vec())
        .collect();
    assert!(got == data);
    lab.silence();
}

/// A router further out: its message finds the container with the MTU unchanged.
#[test]
fn a_message_from_a_router_on_the_way_reaches_the_sender() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let masqueraded = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    let published = open(&mut lab, &up, &tcp_tuple(FAR, 9, UP, 5_000), &web);
    for (c, at_client) in [(&masqueraded, true), (&published, false)] {
        let (t, from) = if at_client {
            (&c.out, &web)
        } else {
            (&c.back, &web)
        };
        let (seq, ack) = if at_client { (101, 901) } else { (901, 101) };
        let seen = pass(&mut lab, from, t, &tcp(t, seq, ack, ACK, &[1; 1_400]), &up);
        let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
        let e = pass(
            &mut lab,
            &up,
            &outer,
            &about(&seen, (3, 4), [0, 0, 2, 0x40], 28),
            &web,
        );
        assert_eq!((e.icmp(), e.inner().tuple), ((3, 4, [0, 0, 2, 0x40]), *t));
        assert_eq!(e.tuple().dst, WEB);
    }
    // Old routers give no MTU (RFC 1191 section 5): still theirs to say.
    let t = udp_tuple(DB, 7, FAR, 9);
    let seen = pass(&mut lab, &db, &t, &udp(&t, &[1; 1_400]), &up);
    let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
    let e = pass(
        &mut lab,
        &up,
        &outer,
        &about(&seen, (3, 4), [0; 4], 28),
        &db,
    );
    assert_eq!(e.icmp(), (3, 4, [0; 4]));
}

/// Towards a container whose interface takes less than the switch: the outside is told by us.
#[test]
fn a_sender_outside_is_told_of_a_narrow_bridge() {
    let mut cfg = config();
    cfg.mtu = 1_000;
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(FAR, 9, UP, 5_000);
    let e = pass(&mut lab, &up, &t, &udp(&t, &[1; 1_400]), &up);
    assert_eq!((e.icmp(), e.tuple().src), ((3, 4, [0, 0, 3, 0xe8]), UP));
    assert_eq!(e.inner().tuple, t, "nothing of the inside is told");
    pass(&mut lab, &up, &t, &udp(&t, &[1; 900]), &web);
}
