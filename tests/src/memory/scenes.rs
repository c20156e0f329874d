//! Beginnings that several tests share.

use super::packet::*;
use super::{FAR, Lab, WEB};
use dataplane::base::Tuple;

/// A connection from `web` to FAR that is established: (its tuple, lab).
pub fn established() -> (Tuple, Lab) {
    let mut lab = Lab::ready();
    let t = tcp_tuple(WEB, 4000, FAR, 80);
    lab.route(&lab.web.clone(), &t, &tcp(&t, 100, 0, SYN, b""));
    let back = lab.only(&lab.up).tuple().reversed();
    lab.route(
        &lab.up.clone(),
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
    );
    lab.route(&lab.web.clone(), &t, &tcp(&t, 101, 901, ACK, b""));
    lab.clear();
    (t, lab)
}

/// Fragments of a datagram from `web` to FAR: `count` pieces of 8 bytes.
pub fn pieces(count: usize) -> Vec<Vec<u8>> {
    let lab = Lab::default();
    let t = udp_tuple(WEB, 7, FAR, 9);
    let whole = lab
        .web
        .routed(&Ip::may_fragment(77), &t, &udp(&t, &vec![1; count * 8 - 8]));
    fragments(&whole, 8)
}
