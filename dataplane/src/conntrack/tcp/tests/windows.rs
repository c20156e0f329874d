use super::*;

/// What each direction may send next, at most, when nothing was sent: 64,240 bytes.
const WINDOW: u32 = 64_240;

#[test]
fn data_beyond_the_limit_is_lost() {
    let c = Conn::established();
    c.passes(ORIG, seg(ACK, 1001 + WINDOW, 5001, 0));
    let c = Conn::established();
    c.loses(
        ORIG,
        seg(ACK, 1002 + WINDOW, 5001, 1),
        Reason::TcpOutOfWindow,
    );
    c.loses(ORIG, seg(ACK, 0x9000_0000, 5001, 1), Reason::TcpOutOfWindow);
    // an acknowledgement opens the window
    c.passes(ORIG, seg(ACK, 1001, 5001, 60_000));
    c.passes(REPLY, seg(ACK, 5001, 61_001, 0));
    c.passes(ORIG, seg(ACK, 61_001 + WINDOW, 5001, 1));
}

#[test]
fn data_older_than_can_be_retransmitted_is_lost() {
    let c = Conn::established();
    for i in 0..5 {
        c.passes(ORIG, seg(ACK, 1001 + i * 60_000, 5001, 60_000));
        c.passes(REPLY, seg(ACK, 5001, 61_001 + i * 60_000, 0));
    }
    // the end is 301,001
    c.passes(ORIG, seg(ACK, 301_001 - 60_000, 5001, 1460));
    c.loses(ORIG, seg(ACK, 1001, 5001, 1460), Reason::TcpOutOfWindow);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_lost() {
    let c = Conn::established();
    c.passes(ORIG, seg(ACK, 1001, 5001, 1000));
    c.loses(
        REPLY,
        seg(ACK, 5001, 2002 + WINDOW, 0),
        Reason::TcpOutOfWindow,
    );
    c.loses(
        REPLY,
        seg(ACK, 5001, 0xa000_0000, 0),
        Reason::TcpOutOfWindow,
    );
}

#[test]
fn an_acknowledgement_that_is_too_old_is_lost() {
    let c = Conn::established();
    for i in 0..5 {
        c.passes(ORIG, seg(ACK, 1001 + i * 60_000, 5001, 60_000));
        c.passes(REPLY, seg(ACK, 5001, 61_001 + i * 60_000, 0));
    }
    c.passes(REPLY, seg(ACK, 5001, 301_001 - 60_000, 0));
    c.loses(REPLY, seg(ACK, 5001, 1001, 0), Reason::TcpOutOfWindow);
}

#[test]
fn windows_are_scaled_only_when_both_offered_it() {
    let far = 1001 + 1_000_000;
    let c = Conn::established_with(Some(7), Some(7));
    c.passes(REPLY, seg(ACK, 5001, 1001, 0));
    c.passes(ORIG, seg(ACK, far, 5001, 1460));
    for (orig, reply) in [(None, None), (Some(7), None), (None, Some(7))] {
        let c = Conn::established_with(orig, reply);
        c.passes(REPLY, seg(ACK, 5001, 1001, 0));
        c.loses(ORIG, seg(ACK, far, 5001, 1460), Reason::TcpOutOfWindow);
        c.passes(ORIG, seg(ACK, 1001, 5001, 60_000));
    }
}

#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let c = Conn::established_with(Some(14), Some(14));
    // the reply's only window so far is 64,240 of its SYN-ACK
    c.loses(
        ORIG,
        seg(ACK, 1001 + 200_000, 5001, 1),
        Reason::TcpOutOfWindow,
    );
    c.passes(ORIG, seg(ACK, 1001, 5001, 64_240));
}

#[test]
fn superframes_are_one_segment() {
    let c = Conn::established_with(Some(7), Some(7));
    c.passes(REPLY, seg(ACK, 5001, 1001, 0));
    let mut seq = 1001_u32;
    for _ in 0..20 {
        c.passes(ORIG, seg(ACK, seq, 5001, 65_483));
        seq = seq.wrapping_add(65_483);
        c.passes(REPLY, seg(ACK, 5001, seq, 0));
    }
    // one of them again
    c.passes(ORIG, seg(ACK, seq - 65_483, 5001, 65_483));
}

#[test]
fn keep_alives() {
    let c = Conn::established();
    for window in [64_240, 0] {
        for len in [0, 1] {
            c.passes(ORIG, win(seg(ACK, 1000, 5001, len), window));
            c.passes(REPLY, win(seg(ACK, 5001, 1001, 0), window));
            c.passes(REPLY, win(seg(ACK, 5000, 1001, len), window));
            c.passes(ORIG, win(seg(ACK, 1001, 5001, 0), window));
        }
    }
}

#[test]
fn zero_window_probes() {
    let c = Conn::established();
    c.passes(ORIG, seg(ACK, 1001, 5001, WINDOW));
    let full = 1001 + WINDOW;
    c.passes(REPLY, win(seg(ACK, 5001, full, 0), 0));
    for _ in 0..3 {
        c.passes(ORIG, seg(ACK, full, 5001, 1));
        c.passes(REPLY, win(seg(ACK, 5001, full, 0), 0));
        c.passes(ORIG, seg(ACK, full - 1, 5001, 0));
    }
    c.passes(REPLY, win(seg(ACK, 5001, full + 1, 0), 1_000));
    c.passes(ORIG, seg(ACK, full + 1, 5001, 1_000));
}

#[test]
fn a_probe_behind_a_full_window_leaves_room_for_what_is_late() {
    let c = Conn::established_with(Some(7), Some(7));
    let full = 500 << 7;
    c.passes(REPLY, win(seg(ACK, 5001, 1001, 0), 500));
    c.passes(ORIG, seg(ACK, 1001, 5001, full));
    c.passes(ORIG, seg(ACK, 1001 + full, 5001, 1));
    c.passes(REPLY, win(seg(ACK, 5001, 1001, 0), 500));
    c.passes(ORIG, seg(ACK, 1001, 5001, 1));
}

#[test]
fn the_scale_of_one_side_alone_shrinks_no_window() {
    // a simultaneous open in which only the reply's side offers to scale
    let c = Conn::syn(1000, None);
    c.becomes(
        c.put_syn(REPLY, win(seg(SYN, 5000, 0, 0), 65_535), Some(5)),
        State::SynSent2,
    );
    c.becomes(c.put(ORIG, seg(SYN | ACK, 1000, 5001, 0)), State::SynRecv);
    c.becomes(
        c.put(REPLY, win(seg(SYN | ACK, 5000, 1001, 0), 65_535)),
        State::Established,
    );
    c.passes(ORIG, seg(ACK, 1001 + 65_535, 5001, 0));
}

#[test]
fn the_second_window_of_a_handshake_counts() {
    let c = Conn::syn(1000, None);
    c.becomes(c.put(REPLY, win(seg(SYN, 5000, 0, 0), 10)), State::SynSent2);
    c.becomes(c.put(ORIG, seg(SYN | ACK, 1000, 5001, 0)), State::SynRecv);
    c.becomes(
        c.put(REPLY, win(seg(SYN | ACK, 5000, 1001, 0), 40_000)),
        State::Established,
    );
    c.passes(ORIG, seg(ACK, 1001 + 40_000, 5001, 0));
}

#[test]
fn urgent_data() {
    let c = Conn::established();
    c.passes(ORIG, seg(ACK | PSH | tcp_flags::URG, 1001, 5001, 10));
    c.passes(REPLY, seg(ACK, 5001, 1011, 0));
}

#[test]
fn retransmission_of_what_the_tracker_saw_acknowledged() {
    // as in the kernel's conntrack_ack_loss_stall: the acknowledgements were lost behind us
    let c = Conn::syn(0, None);
    c.becomes(c.put(REPLY, seg(SYN | ACK, 5000, 1, 0)), State::SynRecv);
    c.becomes(c.put(ORIG, seg(ACK, 1, 5001, 0)), State::Established);
    for i in 0..46 {
        c.passes(ORIG, win(seg(ACK | PSH, 1 + i * 1460, 5001, 1460), 257));
        c.passes(REPLY, win(seg(ACK, 5001, 1461 + i * 1460, 0), 65_535));
    }
    c.passes(ORIG, win(seg(ACK | PSH, 1, 5001, 1460), 257));
}

#[test]
fn numbers_wrap() {
    for start in [u32::MAX - 3, u32::MAX - 40_000, 0x7fff_ff00] {
        let c = Conn::syn(start, Some(8));
        let mut seq = start.wrapping_add(1);
        let back = start.wrapping_add(9_000);
        c.becomes(
            c.put_syn(REPLY, seg(SYN | ACK, back.wrapping_sub(1), seq, 0), Some(8)),
            State::SynRecv,
        );
        c.becomes(c.put(ORIG, seg(ACK, seq, back, 0)), State::Established);
        c.passes(REPLY, seg(ACK, back, seq, 0));
        for _ in 0..100 {
            c.passes(ORIG, seg(ACK, seq, back, 50_000_000 / 1_000));
            seq = seq.wrapping_add(50_000);
            c.passes(REPLY, seg(ACK, back, seq, 0));
        }
        c.loses(
            REPLY,
            seg(RST, back.wrapping_sub(1), 0, 0),
            Reason::TcpRstInexact,
        );
        c.becomes(c.put(REPLY, seg(RST, back, 0, 0)), State::Close);
    }
}

#[test]
fn a_lost_race_loses_no_frame_and_mends_itself() {
    use std::sync::atomic::Ordering::Relaxed;
    // two workers met frames of one direction; the older store came last
    let c = Conn::established();
    c.passes(ORIG, seg(ACK, 1001, 5001, 40_000));
    c.0.tcp(ORIG).end.store(2_000, Relaxed);
    c.passes(REPLY, seg(ACK, 5001, 41_001, 0));
    c.passes(ORIG, seg(ACK, 41_001, 5001, 1_000));
    c.passes(REPLY, seg(ACK, 5001, 42_001, 0));
    assert_eq!(c.0.tcp(ORIG).end.load(Relaxed), 42_001);
    assert_eq!(c.0.tcp(REPLY).ack.load(Relaxed), 42_001);
    // the same for acknowledgements
    c.passes(ORIG, seg(ACK, 42_001, 5001, 60_000));
    c.passes(REPLY, seg(ACK, 5001, 102_001, 0));
    c.0.tcp(REPLY).ack.store(1_001, Relaxed);
    c.passes(ORIG, seg(ACK, 102_001, 5001, 60_000));
    c.passes(REPLY, seg(ACK, 5001, 162_001, 0));
    assert_eq!(c.0.tcp(REPLY).ack.load(Relaxed), 162_001);
}

#[test]
fn an_acknowledgement_by_grace_does_not_move_what_rsts_are_compared_with() {
    let c = Conn::established();
    c.passes(REPLY, seg(ACK, 5001, 1001 + 777, 0));
    c.passes(ORIG, seg(RST, 1001 + 777, 0, 0));
    assert_eq!(c.state(), State::Established);
}
