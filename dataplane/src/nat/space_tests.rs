use super::*;

const A: Endpoint = (Ipv4Addr::new(10, 0, 0, 2), 7);
const B: Endpoint = (Ipv4Addr::new(10, 0, 0, 3), 7);
const ALL: (u16, u16) = (0, u16::MAX);

fn free(s: &Space, port: u16) -> bool {
    !s.taken.contains(port)
}

#[test]
fn a_port_rests_for_all_but_the_one_who_had_it() {
    let s = Space::new(1_000);
    let none = PortSet::new();
    s.advance(Tick(5));
    assert!(s.claim(9, A) && !s.claim(9, B));
    assert_eq!(s.owner(9), Some(A));
    s.leave(9, A);
    assert_eq!((s.owner(9), s.in_use()), (None, 0));
    assert!(!s.claim(9, B) && !s.share(9));
    assert!(s.claim(9, A), "at once");
    s.leave(9, A);
    s.advance(Tick(10));
    s.advance(Tick(1_009));
    assert!(!s.claim(9, B));
    s.advance(Tick(1_010));
    assert!(s.claim(9, B));
    assert_ne!(s.find_free(&none, ALL, Parity::Any, 9), Some(9));
}

#[test]
fn a_port_that_comes_and_goes_is_queued_once_and_rests_from_the_last_time() {
    let s = Space::new(1_000);
    for t in 0..5_000u32 {
        s.advance(Tick(t));
        assert!(s.claim(9, A));
        s.leave(9, A);
        let rest = s.rest();
        assert!(rest.queue.len() + rest.fresh.len() <= 2, "{t}");
    }
    s.advance(Tick(5_000));
    s.advance(Tick(5_999));
    assert!(!free(&s, 9));
    s.advance(Tick(6_000));
    assert!(free(&s, 9));
    let rest = s.rest();
    assert!(rest.queue.is_empty() && rest.since.is_empty() && rest.fresh.is_empty());
}

#[test]
fn when_all_rest_the_one_that_rested_longest_is_given() {
    let s = Space::new(1_000);
    let published = PortSet::new();
    published.insert_range(4, 4);
    for p in [6, 3, 4, 8, 5] {
        assert!(s.claim(p, A));
    }
    for (t, p) in [(1, 3), (2, 6), (3, 4), (4, 8), (5, 5)] {
        s.leave(p, A);
        s.advance(Tick(t));
    }
    let take = |range, parity| s.claim_resting(range, parity, &published, B);
    assert_eq!(take((4, 9), Parity::Any), Some(6));
    assert_eq!(take((1, 9), Parity::Even), Some(8), "not a published one");
    assert_eq!(take((1, 9), Parity::Even), Some(3), "parity is a wish");
    assert_eq!(take((1, 4), Parity::Any), None);
    assert_eq!(take(ALL, Parity::Any), Some(5));
    assert_eq!(s.owner(5), Some(B));
    // What was taken out of its rest stays taken when that would have ended.
    s.advance(Tick(5_000));
    assert!(!free(&s, 6) && free(&s, 4));
}

#[test]
fn without_rest_a_port_is_free_at_once() {
    let s = Space::new(0);
    assert!(s.claim(9, A));
    s.leave(9, A);
    assert!(s.claim(9, B));
}

#[test]
fn what_the_host_uses_itself_is_given_to_nobody_for_a_while() {
    let s = Space::new(0);
    s.share_with_host();
    s.host_uses(9, Tick(1));
    s.lend(9, true);
    assert!(s.claim(9, A), "it was not lent then");
    s.leave(9, A);
    s.host_uses(9, Tick(10));
    assert!(!s.claim(9, A));
    s.host_uses(9, Tick(1_000));
    s.take_back(Tick(10 + HOST_RESTS));
    assert!(!s.claim(9, A), "seen again since");
    s.take_back(Tick(1_000 + HOST_RESTS));
    assert!(s.claim(9, A));
    // Whoever has it keeps it, and is the last.
    s.host_uses(9, Tick(100_000));
    assert_eq!(s.owner(9), Some(A));
    s.leave(9, A);
    assert!(!s.claim(9, B));
    // A forger takes so many away and no more.
    (1_000..5_000).for_each(|p| s.lend(p, true));
    (1_000..5_000).for_each(|p| s.host_uses(p, Tick(100_001)));
    let left = (1_000..5_000).filter(|p| free(&s, *p)).count();
    assert_eq!(left, 4_000 - HOST_USES + 1);
}

#[test]
fn what_the_host_uses_while_it_rests_goes_to_one_and_is_counted_once() {
    let rest = 2 * HOST_RESTS;
    let s = Space::new(rest);
    s.share_with_host();
    s.lend(9, true);
    s.lent(1, (9, 9));
    assert!(s.claim(9, A));
    s.leave(9, A);
    s.advance(Tick(10));
    // Late answers.
    s.host_uses(9, Tick(20));
    s.take_back(Tick(20 + HOST_RESTS));
    assert!(!s.claim(9, B), "it rests still");
    s.advance(Tick(10 + rest));
    assert!(s.claim(9, B));
    s.advance(Tick(10 + 3 * rest));
    assert!(!s.claim(9, A));
    s.leave(9, B);
    assert_eq!((s.in_use(), s.lent.busy.load(SeqCst)), (0, 1));
    s.advance(Tick(10 + 3 * rest));
    s.advance(Tick(10 + 4 * rest));
    assert_eq!(s.lent.busy.load(SeqCst), 0);
}

/// What is published to an endpoint is its own also where the host did not lend it, but not what
/// another one has, or had a moment ago.
#[test]
fn an_endpoint_gets_its_own_port_from_the_host_and_from_nobody_else() {
    let s = Space::new(1_000);
    s.share_with_host();
    s.lend(9, true);
    assert!(!s.claim(7, A) && s.claim_own(7, A), "not lent, not used");
    assert!(!s.claim_own(7, B), "used");
    assert_eq!(s.owner(7), Some(A));
    s.leave(7, A);
    assert!(s.claim_own(7, B));
    assert!(s.claim(9, A) && !s.claim_own(9, B));
    s.leave(9, A);
    assert!(!s.claim_own(9, B), "it rests");
    assert!(s.claim_own(9, A));
}

#[test]
fn ports_are_asked_for_after_any_time() {
    let s = Space::new(0);
    s.share_with_host();
    s.lend(9, true);
    s.lent(1, (9, 9));
    assert!(s.claim(9, A) && s.is_short(Tick(5)));
    // A day, 25 days, 49 days later.
    for days in [1, 25, 49] {
        assert!(s.is_short(Tick(days * 86_400_000)), "{days}");
        assert!(!s.is_short(Tick(days * 86_400_000)), "{days}");
    }
}

#[test]
fn more_ports_are_asked_for_once_in_a_while() {
    let s = Space::new(0);
    assert!(!s.is_short(Tick(1)), "all ports are our own");
    s.share_with_host();
    s.lend(9, true);
    s.lent(1, (9, 9));
    assert!(!s.is_short(Tick(1)) && s.claim(9, A));
    assert!(s.is_short(Tick(2)) && !s.is_short(Tick(3)));
    assert!(s.is_short(Tick(3 + ASK_AGAIN)));
    s.lent(3, (9, 11));
    assert!(!s.is_short(Tick(4_000)));
}
