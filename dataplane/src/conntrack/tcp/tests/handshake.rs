use super::*;

#[test]
fn only_a_pure_syn_opens() {
    let ecn = SYN | tcp_flags::ECE | tcp_flags::CWR;
    for flags in [SYN, ecn] {
        let r = open(&Conn::blank().0, &seg(flags, 7, 0, 0), None, false);
        assert_eq!(r, Ok(State::SynSent));
    }
    for flags in [ACK, SYN | ACK, RST, RST | ACK, FIN | ACK] {
        let r = open(&Conn::blank().0, &seg(flags, 7, 1, 0), None, false);
        assert_eq!(r, Err(Reason::TcpNoConnection));
    }
}

#[test]
fn picked_up_in_the_middle() {
    let c = Conn::blank();
    assert_eq!(
        open(&c.0, &seg(FIN | ACK, 9, 9, 0), None, true),
        Err(Reason::TcpNoConnection)
    );
    assert_eq!(
        open(&c.0, &seg(ACK | PSH, 70_000, 9_000, 500), None, true),
        Ok(State::Established)
    );
    // neither scale is known, so far more than 64 KiB is in order
    c.passes(REPLY, seg(ACK, 9_000 + 3_000_000, 70_500, 1_000));
    c.passes(ORIG, seg(ACK, 70_500 + 2_000_000, 3_010_000, 1_000));
    // but not anything
    c.loses(
        REPLY,
        seg(ACK, 0x9000_0000, 70_500, 1),
        Reason::TcpOutOfWindow,
    );
    c.loses(ORIG, seg(RST, 60_000, 0, 0), Reason::TcpRstInexact);
}

#[test]
fn a_syn_is_retransmitted() {
    let c = Conn::syn(1000, None);
    c.passes(ORIG, seg(SYN, 1000, 0, 0));
    assert_eq!(
        c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)),
        Verdict::PassChanged(State::SynRecv)
    );
    c.passes(ORIG, seg(SYN, 1000, 0, 0));
    c.becomes(c.put(ORIG, seg(ACK, 1001, 5001, 0)), State::Established);
}

#[test]
fn a_new_attempt_replaces_an_unanswered_one() {
    let c = Conn::syn(1000, Some(7));
    c.passes(ORIG, seg(SYN, 0x8000_0000, 0, 0));
    c.loses(
        REPLY,
        seg(SYN | ACK, 5000, 1001, 0),
        Reason::TcpInvalidState,
    );
    c.becomes(
        c.put(REPLY, seg(SYN | ACK, 5000, 0x8000_0001, 0)),
        State::SynRecv,
    );
}

#[test]
fn a_syn_ack_is_retransmitted() {
    let c = Conn::syn(1000, None);
    let syn_ack = seg(SYN | ACK, 5000, 1001, 0);
    c.becomes(c.put(REPLY, syn_ack), State::SynRecv);
    c.passes(REPLY, syn_ack);
    c.becomes(c.put(ORIG, seg(ACK, 1001, 5001, 0)), State::Established);
    c.passes(REPLY, syn_ack);
    c.passes(ORIG, seg(ACK | PSH, 1001, 5001, 100));
}

#[test]
fn a_server_that_forgot_answers_anew() {
    let c = Conn::syn(1000, None);
    c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)), State::SynRecv);
    c.passes(REPLY, seg(SYN | ACK, 0x7777_0000, 1001, 0));
    c.becomes(
        c.put(ORIG, seg(ACK, 1001, 0x7777_0001, 0)),
        State::Established,
    );
}

#[test]
fn a_syn_ack_that_does_not_fit_is_lost() {
    let c = Conn::syn(1000, None);
    for ack in [0, 1000, 1002, 0x8000_0000] {
        c.loses(REPLY, seg(SYN | ACK, 5000, ack, 0), Reason::TcpInvalidState);
    }
    // but what the client says to one that it got passes, and the handshake goes on
    c.passes(ORIG, seg(RST, 643_160_523, 0, 0));
    c.passes(ORIG, seg(SYN, 1000, 0, 0));
    c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)), State::SynRecv);
    // nor may the client answer its own SYN
    let c = Conn::syn(1000, None);
    c.loses(ORIG, seg(SYN | ACK, 1000, 1001, 0), Reason::TcpInvalidState);
}

#[test]
fn an_old_incarnation_answers_and_is_reset() {
    // RFC 9293 section 3.5.1: the server still has the connection of before
    let c = Conn::syn(1000, None);
    c.passes(REPLY, seg(ACK, 77, 300, 0));
    c.passes(ORIG, seg(RST, 300, 0, 0));
    c.passes(ORIG, seg(SYN, 1000, 0, 0));
    c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)), State::SynRecv);
}

#[test]
fn nothing_else_before_an_answer() {
    let c = Conn::syn(1000, None);
    c.loses(ORIG, seg(ACK, 1001, 1, 0), Reason::TcpInvalidState);
    c.loses(ORIG, seg(FIN | ACK, 1001, 1, 0), Reason::TcpInvalidState);
    c.loses(
        REPLY,
        seg(FIN | ACK, 1001, 1001, 0),
        Reason::TcpInvalidState,
    );
}

#[test]
fn the_third_segment_must_acknowledge_the_second() {
    let c = Conn::syn(1000, None);
    c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)), State::SynRecv);
    for ack in [0, 5000, 5002] {
        c.loses(ORIG, seg(ACK, 1001, ack, 0), Reason::TcpOutOfWindow);
    }
    // lost: the data that follows does as well
    c.becomes(c.put(ORIG, seg(ACK, 1001, 5001, 80)), State::Established);
}

#[test]
fn simultaneous_open() {
    let c = Conn::syn(1000, Some(5));
    c.becomes(
        c.put_syn(REPLY, seg(SYN, 5000, 0, 0), Some(6)),
        State::SynSent2,
    );
    c.passes(ORIG, seg(SYN, 1000, 0, 0));
    c.passes(REPLY, seg(SYN, 5000, 0, 0));
    c.loses(REPLY, seg(SYN, 6000, 0, 0), Reason::TcpInvalidState);
    c.loses(ORIG, seg(SYN | ACK, 1000, 5002, 0), Reason::TcpInvalidState);
    c.loses(ORIG, seg(SYN | ACK, 1001, 5001, 0), Reason::TcpInvalidState);
    c.becomes(c.put(ORIG, seg(SYN | ACK, 1000, 5001, 0)), State::SynRecv);
    c.becomes(
        c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)),
        State::Established,
    );
    c.passes(ORIG, seg(ACK, 1001, 5001, 1460));
    c.passes(REPLY, seg(ACK, 5001, 2461, 1460));
}

#[test]
fn split_handshake() {
    let c = Conn::syn(1000, None);
    c.passes(REPLY, seg(ACK, 0, 1001, 0));
    c.becomes(c.put(REPLY, seg(SYN, 5000, 0, 0)), State::SynSent2);
    c.becomes(c.put(ORIG, seg(SYN | ACK, 1000, 5001, 0)), State::SynRecv);
    c.becomes(c.put(REPLY, seg(ACK, 5001, 1001, 0)), State::Established);
}

#[test]
fn fast_open() {
    for acked in [1001, 1501] {
        let c = Conn::blank();
        let r = open(&c.0, &seg(SYN, 1000, 0, 500), None, false);
        assert_eq!(r, Ok(State::SynSent));
        c.loses(
            REPLY,
            seg(SYN | ACK, 5000, 1502, 0),
            Reason::TcpInvalidState,
        );
        c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, acked, 0)), State::SynRecv);
        // the server speaks before the handshake's end
        c.passes(REPLY, seg(ACK | PSH, 5001, acked, 1_460));
        c.passes(REPLY, seg(ACK | PSH, 6461, acked, 30_000));
        c.becomes(
            c.put(ORIG, seg(ACK, acked, 36_461, 700)),
            State::Established,
        );
    }
    // a SYN-ACK with data, and the SYN again without
    let c = Conn::blank();
    open(&c.0, &seg(SYN, 1000, 0, 500), None, false).expect("opens");
    c.passes(ORIG, seg(SYN, 1000, 0, 0));
    c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1501, 9)), State::SynRecv);
    c.becomes(c.put(ORIG, seg(ACK, 1501, 5010, 0)), State::Established);
}

#[test]
fn a_syn_on_an_open_connection_is_challenged() {
    // as in the kernel's conntrack_synack_reuse
    let c = Conn::established();
    c.passes(ORIG, seg(ACK | PSH, 1001, 5001, 100));
    c.passes(REPLY, seg(ACK, 5001, 1101, 0));
    c.passes(ORIG, seg(SYN, 3000, 0, 0));
    c.passes(REPLY, seg(ACK, 5001, 1101, 0));
    c.becomes(c.put(ORIG, seg(RST | ACK, 1101, 1, 0)), State::Close);
    assert_eq!(c.put(ORIG, seg(SYN, 3000, 0, 0)), Verdict::Reopen);
}

#[test]
fn a_challenged_syn_that_was_forged_does_no_harm() {
    let c = Conn::established();
    c.passes(ORIG, seg(SYN, 0x6000_0000, 0, 0));
    c.passes(REPLY, seg(ACK, 5001, 1001, 0));
    c.loses(ORIG, seg(RST, 0x6000_0001, 0, 0), Reason::TcpRstInexact);
    c.passes(ORIG, seg(ACK | PSH, 1001, 5001, 1460));
    c.passes(REPLY, seg(ACK | PSH, 5001, 2461, 1460));
}

#[test]
fn a_server_that_forgot_the_connection_takes_the_new_syn() {
    for old in [
        Conn::established(),
        Conn::established_with(Some(3), Some(4)),
    ] {
        old.passes(ORIG, seg(ACK | PSH, 1001, 5001, 100));
        assert_eq!(
            old.put_syn(ORIG, seg(SYN, 0x6000_0000, 0, 0), Some(7)),
            Verdict::Pass
        );
        old.loses(
            REPLY,
            seg(SYN | ACK, 42, 0x6000_0002, 0),
            Reason::TcpInvalidState,
        );
        old.becomes(
            old.put_syn(REPLY, seg(SYN | ACK, 42, 0x6000_0001, 0), Some(7)),
            State::SynRecv,
        );
        let ack = win(seg(ACK, 0x6000_0001, 43, 0), 500);
        old.becomes(old.put(ORIG, ack), State::Established);
        old.passes(REPLY, win(seg(ACK, 43, 0x6000_0001, 60_000), 500));
    }
    // or it refuses it
    let c = Conn::established();
    c.passes(ORIG, seg(SYN, 0x6000_0000, 0, 0));
    c.loses(
        REPLY,
        seg(RST | ACK, 0, 0x6000_0000, 0),
        Reason::TcpRstInexact,
    );
    c.becomes(
        c.put(REPLY, seg(RST | ACK, 0, 0x6000_0001, 0)),
        State::Close,
    );
}

/// TCP Fast Open (RFC 7413): the new SYN brings data, of which the server may take any part.
#[test]
fn a_server_that_forgot_the_connection_takes_the_data_of_the_new_syn() {
    let again = || {
        let c = Conn::established();
        c.passes(ORIG, seg(SYN, 0x6000_0000, 0, 500));
        c
    };
    for taken in [0, 1, 500] {
        let (c, next) = (again(), 0x6000_0001 + taken);
        c.becomes(c.put(REPLY, seg(SYN | ACK, 42, next, 0)), State::SynRecv);
        c.becomes(
            c.put(ORIG, seg(ACK, 0x6000_01f5, 43, 100)),
            State::Established,
        );
        c.passes(REPLY, seg(ACK, 43, 0x6000_0259, 1000));
        let c = again();
        c.becomes(c.put(REPLY, seg(RST | ACK, 0, next, 0)), State::Close);
    }
    for wrong in [0x6000_0000, 0x6000_01f6] {
        again().loses(REPLY, seg(SYN | ACK, 42, wrong, 0), Reason::TcpInvalidState);
        again().loses(REPLY, seg(RST | ACK, 0, wrong, 0), Reason::TcpRstInexact);
    }
}

#[test]
fn a_late_copy_of_the_first_syn_is_not_a_new_one() {
    let c = Conn::established();
    c.passes(ORIG, seg(SYN, 1000, 0, 0));
    c.passes(REPLY, seg(SYN | ACK, 5000, 1001, 0));
    c.passes(ORIG, seg(ACK, 1001, 5001, 1460));
}
