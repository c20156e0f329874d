use super::*;

/// 3,000 bytes went and were acknowledged up to 3001, as in the kernel's conntrack_rst_invalid.
fn at_3001() -> Conn {
    let c = Conn::syn(0, None);
    c.becomes(c.put(REPLY, seg(SYN | ACK, 0, 1, 0)), State::SynRecv);
    c.becomes(c.put(ORIG, seg(ACK, 1, 1, 0)), State::Established);
    for seq in [1, 1001, 2001] {
        c.passes(REPLY, seg(ACK, seq, 1, 1000));
        c.passes(ORIG, seg(ACK, 1, seq + 1000, 0));
    }
    c
}

#[test]
fn only_an_exact_rst_closes() {
    let c = at_3001();
    for seq in [0, 1_000_000, 42, 3000] {
        c.loses(REPLY, seg(RST, seq, 0, 0), Reason::TcpRstInexact);
        c.loses(REPLY, seg(RST | ACK, seq, 1, 0), Reason::TcpRstInexact);
    }
    c.becomes(c.put(REPLY, seg(RST, 3001, 0, 0)), State::Close);
}

#[test]
fn a_rst_inside_the_window_is_for_the_receiver_to_challenge() {
    let c = at_3001();
    c.passes(REPLY, seg(RST, 3002, 0, 0));
    c.passes(ORIG, seg(ACK, 1, 3001, 0));
    c.becomes(c.put(REPLY, seg(RST, 3001, 0, 0)), State::Close);
}

#[test]
fn an_abort_with_data_in_flight_closes() {
    let c = at_3001();
    c.passes(REPLY, seg(ACK, 3001, 1, 500));
    c.becomes(c.put(REPLY, seg(RST | ACK, 3501, 1, 0)), State::Close);
}

#[test]
fn the_answer_to_a_segment_for_nobody_closes() {
    let c = at_3001();
    c.passes(ORIG, seg(ACK, 1, 3001, 700));
    c.becomes(c.put(REPLY, seg(RST, 3001, 0, 0)), State::Close);
}

#[test]
fn a_refusal_must_acknowledge_the_syn() {
    let c = Conn::syn(1000, None);
    c.loses(REPLY, seg(RST, 0, 0, 0), Reason::TcpRstInexact);
    for ack in [0, 1000, 1002] {
        c.loses(REPLY, seg(RST | ACK, 0, ack, 0), Reason::TcpRstInexact);
    }
    c.becomes(c.put(REPLY, seg(RST | ACK, 0, 1001, 0)), State::Close);
    c.passes(REPLY, seg(RST | ACK, 0, 1001, 0));
    c.loses(ORIG, seg(ACK, 1001, 1, 0), Reason::TcpInvalidState);
    // Windows asks again with the same SYN
    assert_eq!(c.put(ORIG, seg(SYN, 1000, 0, 0)), Verdict::Reopen);
    assert_eq!(c.put(ORIG, seg(SYN, 9000, 0, 0)), Verdict::Reopen);
}

#[test]
fn resets_during_the_handshake() {
    let half_open = || {
        let c = Conn::syn(1000, None);
        c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)), State::SynRecv);
        c
    };
    for (dir, t) in [
        (ORIG, seg(RST, 1001, 0, 0)),
        (REPLY, seg(RST | ACK, 5001, 1001, 0)),
        (REPLY, seg(RST | ACK, 0, 1001, 0)),
    ] {
        let c = half_open();
        c.becomes(c.put(dir, t), State::Close);
    }
    let c = half_open();
    c.loses(ORIG, seg(RST, 1002, 0, 0), Reason::TcpRstInexact);
    c.loses(REPLY, seg(RST, 5002, 0, 0), Reason::TcpRstInexact);
    c.loses(REPLY, seg(RST | ACK, 0, 1000, 0), Reason::TcpRstInexact);
}

#[test]
fn who_gives_up_an_attempt_leaves_the_tuple_to_the_other() {
    let c = Conn::syn(1000, None);
    // about an older connection, not this attempt
    c.passes(ORIG, seg(RST, 700, 0, 0));
    c.becomes(c.put(ORIG, seg(RST, 1001, 0, 0)), State::Close);
    c.loses(
        REPLY,
        seg(SYN | ACK, 5000, 1001, 0),
        Reason::TcpInvalidState,
    );
    assert_eq!(c.put(REPLY, seg(SYN, 5000, 0, 0)), Verdict::Reopen);
    assert_eq!(c.put(ORIG, seg(SYN, 1000, 0, 0)), Verdict::Reopen);
}

#[test]
fn looser_once_closing() {
    // conntrack_inexact_rst: the FIN is acknowledged, then a RST that acknowledges one more
    let c = at_3001();
    c.passes(ORIG, seg(ACK | PSH, 1, 3001, 1000));
    c.becomes(c.put(REPLY, seg(FIN | ACK, 3001, 1001, 0)), State::FinWait);
    c.becomes(c.put(ORIG, seg(ACK, 1001, 3002, 0)), State::CloseWait);
    c.loses(REPLY, seg(RST, 3001, 0, 0), Reason::TcpRstInexact);
    c.becomes(c.put(ORIG, seg(RST | ACK, 1001, 3002, 0)), State::Close);
    // a late one of a peer that knows nothing any more
    c.passes(REPLY, seg(RST, 2001, 0, 0));

    let c = at_3001();
    c.becomes(c.put(REPLY, seg(FIN | ACK, 3001, 1, 0)), State::FinWait);
    c.becomes(c.put(ORIG, seg(RST, 500, 0, 0)), State::Close);
}

#[test]
fn data_revives_after_a_rst() {
    let c = at_3001();
    c.becomes(c.put(REPLY, seg(RST, 3001, 0, 0)), State::Close);
    c.passes(ORIG, seg(ACK, 1, 3001, 0));
    c.loses(ORIG, seg(ACK, 900_000, 3001, 10), Reason::TcpOutOfWindow);
    c.becomes(c.put(ORIG, seg(ACK | PSH, 1, 3001, 10)), State::Established);
    c.passes(REPLY, seg(ACK, 3001, 11, 10));
    // half-closed before, half-closed again
    c.becomes(c.put(ORIG, seg(FIN | ACK, 11, 3011, 0)), State::FinWait);
    c.becomes(c.put(REPLY, seg(ACK, 3011, 12, 0)), State::CloseWait);
    c.becomes(c.put(ORIG, seg(RST, 12, 0, 0)), State::Close);
    c.becomes(c.put(REPLY, seg(ACK, 3011, 12, 10)), State::CloseWait);
}
