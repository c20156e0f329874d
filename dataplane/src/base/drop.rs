//! The one table of reasons for which a frame is lost: symbol, sentence, index.
//!
//! `switchctl stats`, the replay, the README's table and the metrics all read it from here.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident, $symbol:literal, $sentence:literal;)+) => {
        /// Why a frame (or a copy of it) was dropped. The discriminant indexes the counters.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $sentence] $variant,)+
        }

        impl Reason {
            /// Every reason, in index order.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// Stable name for machines: lower case, words joined by `_`.
            pub const fn symbol(self) -> &'static str {
                match self { $(Reason::$variant => $symbol,)+ }
            }

            /// One sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$variant => $sentence,)+ }
            }
        }
    };
}

reasons! {
    // parse
    EthTruncated, "eth_truncated", "the frame is shorter than its Ethernet header or VLAN tags";
    EthTooLong, "eth_too_long", "the frame is longer than the switch takes";
    VnetHdrBad, "vnet_hdr_bad", "the virtio_net_hdr contradicts the frame it came with";
    Ipv4Truncated, "ipv4_truncated", "the IPv4 header or total length reaches past the end of the frame";
    Ipv4Version, "ipv4_version", "the EtherType says IPv4 but the version field does not say 4";
    Ipv4HeaderLength, "ipv4_header_length", "the IPv4 header length is below 20 bytes";
    Ipv4TotalLength, "ipv4_total_length", "the IPv4 total length is smaller than the header";
    Ipv4Checksum, "ipv4_checksum", "the IPv4 header checksum is wrong";
    ArpMalformed, "arp_malformed", "the ARP packet is truncated or not for Ethernet and IPv4";
    L4Truncated, "l4_truncated", "the TCP, UDP or ICMP header reaches past the end of the packet";
    TcpMalformed, "tcp_malformed", "the TCP header length or flag combination is impossible";
    UdpLength, "udp_length", "the UDP length contradicts the packet's length";
    IcmpChecksum, "icmp_checksum", "the ICMP checksum is wrong";
    // guard
    SrcMacGroup, "src_mac_group", "the source MAC is a group address";
    SrcMacZero, "src_mac_zero", "the source MAC is all zero";
    SrcMacGateway, "src_mac_gateway", "a port other than sw0 used the gateway's MAC as source";
    Land, "land", "source and destination address are the same";
    Martian, "martian", "the source or destination address may not appear on a wire here";
    SourceNotInSubnet, "source_not_in_subnet", "a routed packet's source address is not inside the subnet of its port";
    ArpSpoof, "arp_spoof", "an ARP packet claims an address that is the gateway's or not its sender's";
    RogueRa, "rogue_ra", "an IPv6 router advertisement from a container";
    RogueRedirect, "rogue_redirect", "an IPv6 redirect from a container";
    RogueDhcpv6, "rogue_dhcpv6", "a DHCPv6 server message from a container";
    Ipv6Chain, "ipv6_chain", "an IPv6 packet from a container whose extension headers hide what it carries (RFC 7113)";
    // L2
    LinkLocalGroup, "link_local_group", "destination 01-80-C2-00-00-0X is never forwarded by a bridge";
    SamePort, "same_port", "the destination is behind the port that the frame came from";
    NoOtherPort, "no_other_port", "there is no other port to flood to";
    IgmpMalformed, "igmp_malformed", "an IGMP message that is truncated or has a wrong checksum";
    NotForUs, "not_for_us", "a frame from the uplink that is addressed to another MAC";
    NotOurs, "not_ours", "from the shared uplink for the host itself, whose kernel has its own copy";
    NotRouted, "not_routed", "a protocol from the uplink or to the gateway that the switch does not route";
    // IPv4 router
    TtlExceeded, "ttl_exceeded", "the time to live ran out here (RFC 1812 section 5.3.1)";
    SourceRoute, "source_route", "a source-routed packet (RFC 7126 refuses them)";
    BadOptions, "bad_options", "the IPv4 options are malformed";
    NoRoute, "no_route", "no route leads to the destination";
    NoUplink, "no_uplink", "the destination is outside and the switch has no uplink";
    GroupDestination, "group_destination", "a multicast or broadcast destination that is not routed";
    MtuExceeded, "mtu_exceeded", "larger than the egress MTU and marked don't-fragment (RFC 1191)";
    HostUnreachable, "host_unreachable", "the next hop did not answer ARP";
    NeighQueueFull, "neigh_queue_full", "too many frames wait for the same next hop";
    NeighTableFull, "neigh_table_full", "the neighbour table has no free entry";
    // fragments
    FragTableFull, "frag_table_full", "too many fragmented packets are under way";
    FragOverlap, "frag_overlap", "a fragment overlaps another of its packet (RFC 5722's reasoning)";
    FragMalformed, "frag_malformed", "a fragment of impossible offset or length";
    FragTimeout, "frag_timeout", "the first fragment did not come in time";
    FragTooMany, "frag_too_many", "a packet of more fragments than are kept";
    // policy, NAT
    NotPublished, "not_published", "from outside to a port that nobody published or opened";
    PolicyDenied, "policy_denied", "the forward policy refuses this path";
    AddressGone, "address_gone", "the connection's external address is no longer the host's";
    RuleGone, "rule_gone", "the connection's published port was withdrawn";
    PortsExhausted, "ports_exhausted", "no external port is free for masquerade";
    NatClash, "nat_clash", "the translated tuple is already in use by another connection";
    HostPorts, "host_ports", "the inside host holds as many external ports as one host may";
    IcmpNoMatch, "icmp_no_match", "an ICMP error or reply that belongs to no connection";
    IcmpInnerMalformed, "icmp_inner_malformed", "the packet inside an ICMP error is truncated or has a wrong header checksum";
    ProtoUnsupported, "proto_unsupported", "an IP protocol that cannot be translated";
    // conntrack
    ConntrackFull, "conntrack_full", "the connection table is full";
    PortLimit, "port_limit", "the port has as many connections as one port may have";
    HostConnections, "host_connections", "the inside host has as many connections as one host may";
    HalfOpenLimit, "half_open_limit", "too many half-open connections";
    TcpNoConnection, "tcp_no_connection", "a TCP segment that opens nothing and belongs to no connection";
    TcpOutOfWindow, "tcp_out_of_window", "a TCP segment outside the window of its connection";
    TcpRstInexact, "tcp_rst_inexact", "a RST that is not at the exact sequence number (RFC 5961)";
    TcpInvalidState, "tcp_invalid_state", "a TCP segment that the connection's state does not allow";
    // rx
    RxFull, "rx_full", "the interface's receive buffer was full, so the frame was lost before it was read";
    // tx
    PortGone, "port_gone", "the egress port was removed";
    TxFull, "tx_full", "the egress port's queue is full";
    TxError, "tx_error", "the egress port refused the frame";
    TxTooLong, "tx_too_long", "a bridged frame longer than the MTU of the port that it would leave by";
    SegmentFailed, "segment_failed", "a superframe could not be segmented for the egress port";
    // worker
    Panic, "panic", "a frame that made the worker panic (kept in the quarantine)";
}

impl Reason {
    /// Number of reasons: the length of a counter array.
    pub const COUNT: usize = Reason::ALL.len();

    /// Index into a counter array.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason with this symbol.
    pub fn from_symbol(symbol: &str) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|r| r.symbol() == symbol)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.symbol())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_unique_and_indexes_match() {
        for (i, r) in Reason::ALL.iter().enumerate() {
            assert_eq!(r.index(), i);
            assert_eq!(Reason::from_symbol(r.symbol()), Some(*r));
            assert!(
                r.symbol()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
            );
        }
    }
}
