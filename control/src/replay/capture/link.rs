//! What a packet of a capture may begin with.

/// Link type of Ethernet.
const ETHERNET: u32 = 1;

/// The link type, if it is another than Ethernet.
pub(super) fn other(link: u32) -> Option<u32> {
    (link != ETHERNET).then_some(link)
}

/// A link type (<https://www.tcpdump.org/linktypes.html>) in words; those that people have.
pub(super) fn name(link: u32) -> &'static str {
    match link {
        0 | 108 => "of BSD's loopback",
        6 => "of Token Ring",
        8 => "SLIP packets",
        9 | 50 | 51 | 166 => "PPP frames",
        12 | 14 | 101 | 228 | 229 => "IP packets without a link layer",
        10 => "of FDDI",
        104 | 112 => "Cisco HDLC frames",
        105 | 119 | 127 | 163 | 192 => "802.11 frames",
        107 => "of Frame Relay",
        113 | 276 => "Linux cooked ones, of 'any'",
        117 => "of OpenBSD's packet filter",
        122 | 123 | 11 | 100 | 106 => "of ATM",
        147..=162 => "of a private link type",
        187 | 201 | 251 | 254 | 255 => "of Bluetooth",
        189 | 220 | 249 => "of USB",
        195 | 215 | 230 | 283 => "of 802.15.4",
        227 => "of a CAN bus",
        239 => "of netfilter's log",
        252 => "protocol data of Wireshark",
        253 => "netlink messages",
        _ => "of another link type",
    }
}

/// How to come by Ethernet frames of the same traffic.
pub(super) fn remedy(link: u32) -> &'static str {
    match link {
        113 | 276 => "capture on one interface, not on 'any'",
        0 | 108 => "capture on an Ethernet interface, not on loopback",
        _ => "capture on an Ethernet interface",
    }
}
