//! What the tests of the requirements share.

use dataplane::base::{Config, Tuple};
use std::time::Duration;
use switchd_tests::memory::check::Seen;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{GW, Host, Lab, config, mac};

/// Seconds.
pub fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Lets time pass; the hosts that were silent for it are heard again, and what was sent is
/// forgotten.
pub fn sleep(lab: &mut Lab, d: Duration) {
    lab.wait(d);
    lab.learn_outside();
    for h in [lab.web.clone(), lab.db.clone(), lab.app.clone()] {
        lab.send(&h, &arp(mac(GW), 2, (h.mac(), h.ip), (mac(GW), GW)));
    }
    lab.clear();
}

/// Sends a packet of `t` and gives the only thing that came out, at `to`.
#[track_caller]
pub fn pass(lab: &mut Lab, from: &Host, t: &Tuple, l4: &[u8], to: &Host) -> Seen {
    lab.route(from, t, l4);
    let seen = lab.only(to);
    lab.silence();
    seen
}

/// Sends a packet of `t` and asserts that nothing came of it.
#[track_caller]
pub fn lost(lab: &mut Lab, from: &Host, t: &Tuple, l4: &[u8]) {
    lab.route(from, t, l4);
    lab.silence();
}

/// A TCP connection from `client`, whose numbers begin at 100, to `server`, whose begin at 900.
pub struct Open {
    /// As the client sends.
    pub out: Tuple,
    /// As the server answers.
    pub back: Tuple,
    /// The client.
    pub client: Host,
    /// The server.
    pub server: Host,
}

/// Opens it: afterwards the client sends 101 and has acknowledged 901, and the reverse.
#[track_caller]
pub fn open(lab: &mut Lab, client: &Host, t: &Tuple, server: &Host) -> Open {
    let syn = pass(lab, client, t, &tcp(t, 100, 0, SYN, b""), server);
    let back = syn.tuple().reversed();
    let syn_ack = tcp(&back, 900, 101, SYN | ACK, b"");
    pass(lab, server, &back, &syn_ack, client);
    pass(lab, client, t, &tcp(t, 101, 901, ACK, b""), server);
    Open {
        out: *t,
        back,
        client: client.clone(),
        server: server.clone(),
    }
}

impl Open {
    /// A segment of the client's; true when it arrived, false when nothing did.
    #[track_caller]
    pub fn say(&self, lab: &mut Lab, seq: u32, ack: u32, flags: u8, data: &[u8]) -> bool {
        let l4 = tcp(&self.out, seq, ack, flags, data);
        arrives(lab, &self.client, &self.out, &l4, &self.server)
    }

    /// A segment of the server's.
    #[track_caller]
    pub fn answer(&self, lab: &mut Lab, seq: u32, ack: u32, flags: u8, data: &[u8]) -> bool {
        let l4 = tcp(&self.back, seq, ack, flags, data);
        arrives(lab, &self.server, &self.back, &l4, &self.client)
    }
}

/// Whether a packet comes out at `to`. Nothing comes out elsewhere.
#[track_caller]
pub fn arrives(lab: &mut Lab, from: &Host, t: &Tuple, l4: &[u8], to: &Host) -> bool {
    lab.route(from, t, l4);
    let n = lab.got(to).len();
    lab.silence();
    assert!(n <= 1, "{n} frames of one");
    n == 1
}

/// The states of the connections, as `conntrack -L` prints them.
pub fn states(lab: &Lab) -> Vec<&'static str> {
    let all = lab.sw.switch().conntrack.list(lab.now.tick());
    all.iter().map(|c| c.state).collect()
}

/// A configuration whose uplink takes only `mtu` bytes.
pub fn narrow_uplink(mtu: u16) -> Config {
    let mut cfg = config();
    if let Some(up) = &mut cfg.uplink {
        up.mtu = mtu;
    }
    cfg
}

/// An ICMP error about `seen`, a packet as its receiver got it, with `quote` bytes of it.
pub fn about(seen: &Seen, kind: (u8, u8), rest: [u8; 4], quote: usize) -> Vec<u8> {
    let packet = &seen.bytes[usize::from(seen.p.l3_off)..];
    icmp(kind.0, kind.1, rest, &packet[..quote.min(packet.len())])
}
