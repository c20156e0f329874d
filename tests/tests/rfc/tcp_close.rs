//! Every way in which a TCP connection ends (RFC 9293 section 3.6, RFC 7857 section 2), through
//! masquerade and through a published port.

use crate::common::{Open, arrives, open, s, sleep, states};
use dataplane::base::Reason;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{FAR, Lab, UP, WEB};

/// The same for a connection from inside and one from outside.
fn both(f: impl Fn(&mut Lab, &Open)) {
    for published in [false, true] {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let c = if published {
            open(&mut lab, &up, &tcp_tuple(FAR, 9, UP, 5_000), &web)
        } else {
            open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up)
        };
        f(&mut lab, &c);
    }
}

#[track_caller]
fn gone_after_240_s(lab: &mut Lab) {
    sleep(lab, s(239));
    assert_eq!(lab.connections(), 1);
    sleep(lab, s(3));
    lab.assert_empty();
}

#[test]
fn the_client_closes_first() {
    both(|lab, c| {
        assert!(c.say(lab, 101, 901, FIN | ACK, b""));
        assert_eq!(states(lab), ["FIN_WAIT"]);
        assert!(c.answer(lab, 901, 102, ACK, b""));
        assert_eq!(states(lab), ["CLOSE_WAIT"]);
        assert!(c.answer(lab, 901, 102, FIN | ACK, b""));
        assert_eq!(states(lab), ["LAST_ACK"]);
        assert!(c.say(lab, 102, 902, ACK, b""));
        assert_eq!(states(lab), ["TIME_WAIT"]);
        gone_after_240_s(lab);
    });
}

#[test]
fn the_server_closes_first() {
    both(|lab, c| {
        assert!(c.answer(lab, 901, 101, FIN | ACK, b""));
        assert!(c.say(lab, 101, 902, ACK, b""));
        assert_eq!(states(lab), ["CLOSE_WAIT"]);
        assert!(c.say(lab, 101, 902, FIN | ACK, b""));
        assert!(c.answer(lab, 902, 102, ACK, b""));
        assert_eq!(states(lab), ["TIME_WAIT"]);
        gone_after_240_s(lab);
    });
}

#[test]
fn both_close_at_once() {
    both(|lab, c| {
        assert!(c.say(lab, 101, 901, FIN | ACK, b""));
        assert!(c.answer(lab, 901, 101, FIN | ACK, b""), "crossed it");
        assert!(c.say(lab, 102, 902, ACK, b""));
        assert_eq!(states(lab), ["LAST_ACK"]);
        assert!(c.answer(lab, 902, 102, ACK, b""));
        assert_eq!(states(lab), ["TIME_WAIT"]);
        gone_after_240_s(lab);
    });
}

/// A shutdown of one direction, and data in the other for an hour and more.
#[test]
fn a_half_closed_connection_carries_data_for_an_hour() {
    both(|lab, c| {
        assert!(c.say(lab, 101, 901, FIN | ACK, b""));
        assert!(c.answer(lab, 901, 102, ACK, b""));
        for n in 0..12 {
            sleep(lab, s(600));
            assert!(c.answer(lab, 901 + n, 102, ACK | PSH, b"x"));
            assert!(c.say(lab, 102, 902 + n, ACK, b""));
        }
        // Even without any for an hour.
        sleep(lab, s(3_600));
        assert!(c.answer(lab, 913, 102, FIN | ACK, b""));
        assert!(c.say(lab, 102, 914, ACK, b""));
        assert_eq!(states(lab), ["TIME_WAIT"]);
    });
}

#[test]
fn the_last_ack_is_lost_and_the_fin_comes_again() {
    both(|lab, c| {
        assert!(c.say(lab, 101, 901, FIN | ACK, b""));
        assert!(c.answer(lab, 901, 102, FIN | ACK, b""));
        for _ in 0..3 {
            sleep(lab, s(60));
            assert!(c.answer(lab, 901, 102, FIN | ACK, b""));
        }
        assert!(c.say(lab, 102, 902, ACK, b""));
        assert_eq!(states(lab), ["TIME_WAIT"]);
    });
}

#[test]
fn a_fin_with_the_last_data() {
    both(|lab, c| {
        assert!(c.say(lab, 101, 901, FIN | ACK | PSH, b"bye"));
        assert!(c.answer(lab, 901, 105, FIN | ACK | PSH, b"bye"));
        assert!(c.say(lab, 105, 905, ACK, b""));
        assert_eq!(states(lab), ["TIME_WAIT"]);
    });
}

#[test]
fn a_reset_at_the_exact_number_by_either_side() {
    both(|lab, c| {
        assert!(c.say(lab, 101, 0, RST, b""));
        assert_eq!(states(lab), ["CLOSE"]);
        gone_after_240_s(lab);
    });
    both(|lab, c| {
        assert!(c.answer(lab, 901, 101, RST | ACK, b""));
        assert_eq!(states(lab), ["CLOSE"]);
        gone_after_240_s(lab);
    });
}

#[test]
fn a_reset_elsewhere_is_lost_or_changes_nothing() {
    both(|lab, c| {
        assert!(!c.say(lab, 42, 0, RST, b""));
        assert!(!c.answer(lab, 1_000_000, 0, RST, b""));
        assert_eq!(lab.drops(Reason::TcpRstInexact), 2);
        assert!(
            c.answer(lab, 1_000, 0, RST, b""),
            "in the window: for the receiver"
        );
        assert_eq!(states(lab), ["ESTABLISHED"]);
        sleep(lab, s(7_000));
        assert!(c.say(lab, 101, 901, ACK, b"alive"));
    });
}

#[test]
fn a_reset_answers_data_that_nobody_wants_any_more() {
    both(|lab, c| {
        // The server is gone: it answers data by a RST at the acknowledgement.
        assert!(c.say(lab, 101, 901, ACK | PSH, b"hello?"));
        assert!(c.answer(lab, 901, 0, RST, b""));
        assert_eq!(states(lab), ["CLOSE"]);
    });
}

#[test]
fn a_refused_connection() {
    for published in [false, true] {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let (client, t, server) = if published {
            (&up, tcp_tuple(FAR, 9, UP, 5_000), &web)
        } else {
            (&web, tcp_tuple(WEB, 4_000, FAR, 80), &up)
        };
        lab.route(client, &t, &tcp(&t, 100, 0, SYN, b""));
        let back = lab.only(server).tuple().reversed();
        let wrong = tcp(&back, 0, 5_000, RST | ACK, b"");
        assert!(!arrives(&mut lab, server, &back, &wrong, client));
        let right = tcp(&back, 0, 101, RST | ACK, b"");
        assert!(arrives(&mut lab, server, &back, &right, client));
        assert_eq!(states(&lab), ["CLOSE"]);
        // Some clients insist.
        lab.route(client, &t, &tcp(&t, 100, 0, SYN, b""));
        assert_eq!(lab.only(server).tuple(), back.reversed());
        assert_eq!(states(&lab), ["SYN_SENT"]);
    }
}

/// RFC 9293 section 3.10.7.4, RFC 6191: a new SYN takes the place of TIME-WAIT when its number
/// lies beyond; one that does not is a late copy.
#[test]
fn a_new_connection_on_the_tuple_of_a_closed_one() {
    both(|lab, c| {
        assert!(c.say(lab, 101, 901, FIN | ACK, b""));
        assert!(c.answer(lab, 901, 102, FIN | ACK, b""));
        assert!(c.say(lab, 102, 902, ACK, b""));
        assert!(
            c.say(lab, 90, 0, SYN, b""),
            "an old one is for the receiver to judge"
        );
        assert_eq!(states(lab), ["TIME_WAIT"]);
        assert!(c.say(lab, 50_000, 0, SYN, b""));
        assert_eq!(states(lab), ["SYN_SENT"]);
        assert!(c.answer(lab, 70_000, 50_001, SYN | ACK, b""));
        assert!(c.say(lab, 50_001, 70_001, ACK, b"again"));
        assert_eq!(states(lab), ["ESTABLISHED"]);
        assert_eq!(lab.connections(), 1);
    });
}
