//! Frames and labs that many cases begin with.

use dataplane::base::Tuple;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, Host, Lab, WEB, mac};

/// A frame from `web` to a stranger, bridged.
pub fn bridged(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    eth(mac(DB), mac(WEB), ethertype, payload)
}

/// A bridged UDP frame with its IPv4 header changed, and made right again if asked to.
pub fn bad_ipv4(change: impl Fn(&mut [u8]), checksum: bool) -> Lab {
    let t = udp_tuple(WEB, 1, DB, 2);
    let mut f = bridged(0x0800, &ipv4(&Ip::default(), &t, &udp(&t, b"data")));
    change(&mut f[14..]);
    if checksum {
        f[24..26].copy_from_slice(&[0, 0]);
        let sum = !naive_sum(&[&f[14..34]]);
        f[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    after(&f)
}

/// A lab in which `web` has sent this frame.
pub fn after(frame: &[u8]) -> Lab {
    let mut lab = Lab::ready();
    lab.send(&lab.web.clone(), frame);
    lab
}

/// A lab in which `web` has sent this to the gateway's MAC.
pub fn after_routed(ip: &Ip, t: &Tuple, l4: &[u8]) -> Lab {
    let mut lab = Lab::ready();
    let frame = lab.web.routed(ip, t, l4);
    lab.send(&lab.web.clone(), &frame);
    lab
}

/// A lab in which PEER has sent this to the uplink's MAC.
pub fn from_outside(t: &Tuple, l4: &[u8]) -> Lab {
    let mut lab = Lab::ready();
    lab.route(&lab.up.clone(), t, l4);
    lab
}

pub fn send_all(lab: &mut Lab, by: &Host, frames: &[Vec<u8>]) {
    for f in frames {
        lab.send(by, f);
    }
}
