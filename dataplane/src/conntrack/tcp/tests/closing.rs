use super::*;

/// Both FINs, the original's first, none acknowledged beyond the first.
fn last_ack() -> Conn {
    let c = Conn::established();
    c.becomes(c.put(ORIG, seg(FIN | ACK, 1001, 5001, 0)), State::FinWait);
    c.becomes(c.put(REPLY, seg(ACK, 5001, 1002, 0)), State::CloseWait);
    c.becomes(c.put(REPLY, seg(FIN | ACK, 5001, 1002, 0)), State::LastAck);
    c
}

fn time_wait() -> Conn {
    let c = last_ack();
    c.becomes(c.put(ORIG, seg(ACK, 1002, 5002, 0)), State::TimeWait);
    c
}

#[test]
fn an_orderly_close() {
    let c = last_ack();
    c.becomes(c.put(ORIG, seg(ACK, 1002, 5002, 0)), State::TimeWait);
    // the last acknowledgement was lost
    c.passes(REPLY, seg(FIN | ACK, 5001, 1002, 0));
    c.passes(ORIG, seg(ACK, 1002, 5002, 0));
}

#[test]
fn a_close_in_three_segments() {
    let c = Conn::established();
    c.becomes(
        c.put(REPLY, seg(FIN | ACK | PSH, 5001, 1001, 80)),
        State::FinWait,
    );
    c.becomes(c.put(ORIG, seg(FIN | ACK, 1001, 5082, 0)), State::LastAck);
    c.becomes(c.put(REPLY, seg(ACK, 5082, 1002, 0)), State::TimeWait);
}

#[test]
fn simultaneous_close() {
    let c = Conn::established();
    c.becomes(c.put(ORIG, seg(FIN | ACK, 1001, 5001, 0)), State::FinWait);
    c.becomes(c.put(REPLY, seg(FIN | ACK, 5001, 1001, 0)), State::LastAck);
    c.passes(ORIG, seg(ACK, 1002, 5002, 0));
    c.becomes(c.put(REPLY, seg(ACK, 5002, 1002, 0)), State::TimeWait);
}

#[test]
fn a_fin_sent_twice_is_one() {
    let c = Conn::established();
    c.becomes(c.put(ORIG, seg(FIN | ACK, 1001, 5001, 0)), State::FinWait);
    c.passes(ORIG, seg(FIN | ACK, 1001, 5001, 0));
    c.becomes(c.put(REPLY, seg(ACK, 5001, 1002, 0)), State::CloseWait);
    c.passes(ORIG, seg(FIN | ACK, 1001, 5001, 0));
}

#[test]
fn a_fin_before_the_end_is_not_taken() {
    let c = Conn::established();
    c.passes(ORIG, seg(ACK, 1001, 5001, 1000));
    c.passes(ORIG, seg(FIN | ACK, 1001, 5001, 10));
    c.becomes(c.put(ORIG, seg(FIN | ACK, 2001, 5001, 0)), State::FinWait);
}

#[test]
fn half_closed_goes_on_for_long() {
    let c = Conn::established();
    c.becomes(c.put(ORIG, seg(FIN | ACK, 1001, 5001, 0)), State::FinWait);
    c.becomes(c.put(REPLY, seg(ACK, 5001, 1002, 1000)), State::CloseWait);
    let mut seq = 6001;
    for _ in 0..1_000 {
        c.passes(REPLY, seg(ACK, seq, 1002, 60_000));
        seq += 60_000;
        c.passes(ORIG, seg(ACK, 1002, seq, 0));
        assert_eq!(c.state().timeout_class(), TimeoutClass::Established);
    }
    c.becomes(c.put(REPLY, seg(FIN | ACK, seq, 1002, 0)), State::LastAck);
    assert_eq!(c.state().timeout_class(), TimeoutClass::Transitory);
}

#[test]
fn a_handshake_whose_last_segment_is_a_fin() {
    let c = Conn::syn(1000, None);
    c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1001, 0)), State::SynRecv);
    c.becomes(c.put(ORIG, seg(FIN | ACK, 1001, 5001, 20)), State::FinWait);
}

#[test]
fn a_new_syn_reuses_an_ended_connection() {
    let closed = Conn::established();
    closed.becomes(closed.put(ORIG, seg(RST, 1001, 0, 0)), State::Close);
    for c in [time_wait(), closed] {
        assert_eq!(c.put(ORIG, seg(SYN, 90_000, 0, 0)), Verdict::Reopen);
        assert_eq!(c.put(REPLY, seg(SYN, 90_000, 0, 0)), Verdict::Reopen);
        // a copy of the first SYN is none, and one with a lower number is for the host to judge
        c.passes(ORIG, seg(SYN, 1000, 0, 0));
        c.passes(ORIG, seg(SYN, 500, 0, 0));
        c.becomes(c.put(REPLY, seg(SYN | ACK, 7, 501, 0)), State::SynRecv);
        c.becomes(c.put(ORIG, seg(ACK, 501, 8, 0)), State::Established);
    }
}

/// RFC 5382 REQ-2: simultaneous open is a way to open a connection, also after another one.
#[test]
fn two_new_syns_that_cross_open_an_ended_connection() {
    let refused = Conn::syn(1000, None);
    refused.becomes(refused.put(REPLY, seg(RST | ACK, 0, 1001, 0)), State::Close);
    for c in [time_wait(), refused] {
        // Below the number of an old one, so that it may be a late copy.
        c.passes(ORIG, seg(SYN, 500, 0, 0));
        c.becomes(c.put(REPLY, seg(SYN, 90_000, 0, 0)), State::SynSent2);
        c.becomes(c.put(ORIG, seg(SYN | ACK, 500, 90_001, 0)), State::SynRecv);
        c.becomes(
            c.put(REPLY, seg(SYN | ACK, 90_000, 501, 0)),
            State::Established,
        );
        c.passes(REPLY, seg(ACK, 90_001, 501, 1460));
    }
}

/// RFC 9293 section 3.10.7.4: a host in LAST-ACK challenges it. What was lost of the old connection
/// can still be sent again.
#[test]
fn a_new_syn_does_not_end_a_connection_whose_fins_are_on_their_way() {
    let c = last_ack();
    c.passes(ORIG, seg(SYN, 90_000, 0, 0));
    assert_eq!(c.state(), State::LastAck);
    c.passes(ORIG, seg(FIN | ACK, 1001, 5001, 0));
    c.passes(REPLY, seg(FIN | ACK, 5001, 1002, 0));
    // Unless its receiver has forgotten all of it.
    c.becomes(c.put(REPLY, seg(SYN | ACK, 7, 90_001, 0)), State::SynRecv);
    c.becomes(c.put(ORIG, seg(ACK, 90_001, 8, 0)), State::Established);
}

#[test]
fn resets_after_both_fins_pass() {
    let c = last_ack();
    c.passes(ORIG, seg(RST, 0, 0, 0));
    c.becomes(c.put(REPLY, seg(RST, 5002, 0, 0)), State::Close);
    c.passes(REPLY, seg(ACK, 5002, 1002, 0));
}
