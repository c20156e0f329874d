//! RFC 5961, as far as a tracker between both ends is concerned: whoever can't see a connection
//! must not be able to end it or to speak in it.

use crate::common::{Open, open, states};
use dataplane::base::Reason;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{FAR, Lab, WEB};

fn established() -> (Lab, Open) {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    (lab, c)
}

/// The kernel's own cases: at 0, 42, 10^6, beyond; then exact.
#[test]
fn section_3_2_only_a_rst_at_the_exact_number_ends_a_connection() {
    let (mut lab, c) = established();
    for seq in [0, 42, 900, 1_000_000, u32::MAX] {
        assert!(!c.answer(&mut lab, seq, 0, RST, b""), "{seq}");
        assert!(!c.say(&mut lab, seq.wrapping_add(5_000_000), 0, RST, b""));
        assert_eq!(states(&lab), ["ESTABLISHED"]);
    }
    assert_eq!(lab.drops(Reason::TcpRstInexact), 10);
    assert!(c.answer(&mut lab, 901, 0, RST, b""));
    assert_eq!(states(&lab), ["CLOSE"]);
}

/// In the window but not exact: the receiver challenges it, so it has to get there, and the
/// answer to the challenge is exact.
#[test]
fn section_3_2_a_rst_in_the_window_is_for_the_receiver_to_challenge() {
    let (mut lab, c) = established();
    assert!(c.answer(&mut lab, 950, 0, RST, b""));
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    assert!(c.say(&mut lab, 101, 901, ACK, b""), "the challenge");
    assert!(c.answer(&mut lab, 901, 0, RST, b""), "its answer");
    assert_eq!(states(&lab), ["CLOSE"]);
}

/// A SYN on an open connection: challenged by the receiver, changes nothing here.
#[test]
fn section_4_2_a_syn_on_an_open_connection_changes_nothing() {
    let (mut lab, c) = established();
    for seq in [5, 900, 901, 930, 10_000_000] {
        assert!(c.answer(&mut lab, seq, 0, SYN, b""));
        assert_eq!(states(&lab), ["ESTABLISHED"]);
        assert!(c.say(&mut lab, 101, 901, ACK, b""), "the challenge ACK");
    }
    assert!(c.answer(&mut lab, 901, 101, ACK, b"still"));
    assert!(c.say(&mut lab, 101, 906, ACK, b"here"));
}

/// The sender really forgot the connection: the challenge is answered by a RST at its number.
#[test]
fn section_4_2_a_host_that_restarted_gets_through_by_the_challenge() {
    let (mut lab, c) = established();
    assert!(c.say(&mut lab, 7_000_000, 0, SYN, b""));
    assert!(c.answer(&mut lab, 901, 101, ACK, b""), "the challenge");
    assert!(c.say(&mut lab, 101, 0, RST, b""), "what it is to be told");
    assert_eq!(states(&lab), ["CLOSE"]);
    assert!(c.say(&mut lab, 7_000_000, 0, SYN, b""), "the SYN again");
    assert_eq!(states(&lab), ["SYN_SENT"]);
}

/// Data whose acknowledgement lies outside of what the receiver could take.
#[test]
fn section_5_2_blind_data_is_lost() {
    let (mut lab, c) = established();
    for (seq, ack) in [
        (901, 101 + 200_000),
        (901, 101u32.wrapping_sub(2_000_000)),
        (901 + 200_000, 101),
        (901u32.wrapping_sub(200_000), 101),
    ] {
        assert!(!c.answer(&mut lab, seq, ack, ACK, b"evil"));
    }
    assert_eq!(lab.drops(Reason::TcpOutOfWindow), 4);
    assert!(c.answer(&mut lab, 901, 101, ACK, b"good"));
}
