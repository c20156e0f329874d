//! What is recorded.

mod arp;
mod fragments;
mod icmp;
mod malformed;
mod superframes;
mod tcp;
mod udp;

use super::file::Record;
use super::lab::{Lab, Result, Setup};

type Scene = fn() -> Result<Vec<Record>>;

/// Name of the file, and how it is made. README.md of `pcaps/` says what each shows.
pub const ALL: &[(&str, Scene)] = &[
    ("arp", || plain(arp::exchange)),
    ("arp-resolve", || plain(arp::resolve)),
    ("dhcp", || {
        with(
            Setup {
                unaddressed: true,
                ..Setup::default()
            },
            udp::dhcp,
        )
    }),
    ("tcp-bridged", || plain(tcp::bridged)),
    ("tcp-host", || plain(tcp::host)),
    ("tcp-dnat", || plain(tcp::dnat)),
    ("tcp-masquerade", || plain(tcp::masquerade)),
    ("tcp-hairpin", || plain(tcp::hairpin)),
    ("tcp-close-server", || plain(tcp::close_server)),
    ("tcp-close-simultaneous", || plain(tcp::close_simultaneous)),
    ("tcp-half-close", || plain(tcp::half_close)),
    ("tcp-open-simultaneous", || plain(tcp::open_simultaneous)),
    ("tcp-reset-linger", || plain(tcp::reset_linger)),
    ("tcp-reset-closed-port", || plain(tcp::reset_closed_port)),
    ("tcp-retransmission", || plain(tcp::retransmission)),
    ("tcp-out-of-order", || plain(tcp::out_of_order)),
    ("udp", || plain(udp::exchange)),
    ("udp-closed-port", || plain(udp::closed_port)),
    ("fragments", || plain(fragments::in_order)),
    ("fragments-out-of-order", || plain(fragments::out_of_order)),
    ("fragments-hostile", || plain(fragments::hostile)),
    ("icmp-echo", || plain(icmp::echo)),
    ("icmp-unreachable", || plain(icmp::unreachable)),
    ("icmp-frag-needed", || {
        with(
            Setup {
                far_mtu: Some(1280),
                ..Setup::default()
            },
            icmp::frag_needed,
        )
    }),
    ("icmp-time-exceeded", || plain(icmp::time_exceeded)),
    ("icmp-handmade", || plain(icmp::handmade)),
    ("vlan", || {
        with(
            Setup {
                vid: Some(7),
                ..Setup::default()
            },
            tcp::bridged,
        )
    }),
    ("superframes-tcp", || with(OFFLOAD, superframes::tcp)),
    ("superframes-udp", || with(OFFLOAD, superframes::udp)),
    ("malformed-l2", || plain(malformed::l2)),
    ("malformed-ipv4", || plain(malformed::ipv4)),
    ("malformed-l4", || plain(malformed::l4)),
    ("malformed-vnet-hdr", || plain(malformed::vnet_hdr)),
    ("malformed-ipv6", || plain(malformed::ipv6)),
];

const OFFLOAD: Setup = Setup {
    offload: true,
    vid: None,
    unaddressed: false,
    far_mtu: None,
};

fn plain(play: fn(&Lab) -> Result<()>) -> Result<Vec<Record>> {
    with(Setup::default(), play)
}

fn with(setup: Setup, play: fn(&Lab) -> Result<()>) -> Result<Vec<Record>> {
    let lab = Lab::new(setup)?;
    play(&lab)?;
    super::lab::settle();
    Ok(lab.finish())
}
