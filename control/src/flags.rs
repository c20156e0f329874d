//! The daemon's flags as they were written, and the file's keys: one list of names for both.
// Doc comments on flags are the help as people read it: brackets are defaults, not links.
#![allow(rustdoc::broken_intra_doc_links)]

use clap::Args;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// Every setting as text, from flags or from a file; absent when not given.
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Settings")]
pub struct Raw {
    /// Publish: [HOST_IP:]PORT[-END]:CONTAINER_IP:PORT[-END][/tcp|udp]; repeated or with commas.
    #[arg(long, value_name = "SPEC", value_delimiter = ',')]
    #[serde(deserialize_with = "texts")]
    pub ports: Vec<String>,
    /// Attach a namespace: NETNS[:IP][,name=eth0][,mac=..], NETNS a name, a path or pid:N; repeated.
    #[arg(long, value_name = "SPEC")]
    #[serde(deserialize_with = "texts")]
    pub attach: Vec<String>,
    /// The subnet behind the switch [10.0.0.0/24].
    #[arg(long, value_name = "ADDRESS/LEN")]
    #[serde(deserialize_with = "text")]
    pub subnet: Option<String>,
    /// The gateway's address in it [the first].
    #[arg(long, value_name = "ADDRESS")]
    #[serde(deserialize_with = "text")]
    pub gateway: Option<String>,
    /// Name of the host's interface [sw0].
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub bridge: Option<String>,
    /// MTU inside the switch, in IP bytes [1500].
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub mtu: Option<String>,
    /// Worker threads [half as many as cores].
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub workers: Option<String>,
    /// A second worker beside a single one, which sleeps but for sustained bulk: auto, off [auto].
    #[arg(long, value_name = "auto|off")]
    #[serde(deserialize_with = "text")]
    pub bulk_worker: Option<String>,
    /// How long a worker polls before it blocks: auto, off, or microseconds [auto].
    #[arg(long, value_name = "auto|off|USEC")]
    #[serde(deserialize_with = "text")]
    pub spin: Option<String>,
    /// low: hold the CPU's idle states off while frames flow (machine-wide) [normal].
    #[arg(long, value_name = "normal|low")]
    #[serde(deserialize_with = "text")]
    pub latency: Option<String>,
    /// Offloads of the TAPs: auto, on, off, or a list of csum, tso, uso, big [auto].
    #[arg(long, value_name = "WHICH")]
    #[serde(deserialize_with = "text")]
    pub offload: Option<String>,
    /// Control socket [/run/switchd/switchd.sock, or under $XDG_RUNTIME_DIR when not root].
    #[arg(long, value_name = "PATH")]
    #[serde(deserialize_with = "text")]
    pub control: Option<String>,
    /// The namespace that plays the host: a name, a path or pid:N [the one started in].
    #[arg(long, value_name = "NETNS")]
    #[serde(deserialize_with = "text")]
    pub host_netns: Option<String>,
    /// The outside: none, nic[:IFNAME], sockets[,dns=ADDRESS|off], or tap:NETNS:IFNAME,ip=A.B.C.D/LEN,peer=E.F.G.H/LEN [nic as root, else sockets].
    #[arg(long, value_name = "SPEC")]
    #[serde(deserialize_with = "text")]
    pub uplink: Option<String>,
    /// Whether published ports listen on the host too: on or off [on].
    #[arg(long, value_name = "ON|OFF")]
    #[serde(deserialize_with = "text")]
    pub localhost: Option<String>,
    /// How long an unheard MAC stays in the forwarding database [300s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub fdb_age: Option<String>,
    /// How long an unheard neighbour is believed before it is asked again [60s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub neigh_age: Option<String>,
    /// Idle time of an established TCP connection [7440s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub tcp_established_timeout: Option<String>,
    /// Idle time of a TCP connection that opens [240s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub tcp_transitory_timeout: Option<String>,
    /// Idle time of a TCP connection that was closed or reset [as the transitory one].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub tcp_closing_timeout: Option<String>,
    /// Idle time of a UDP flow [300s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub udp_timeout: Option<String>,
    /// Idle time of an ICMP query [60s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub icmp_timeout: Option<String>,
    /// How long the missing fragments of a packet are waited for [15s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub fragment_timeout: Option<String>,
    /// Most connections tracked at a time [262144].
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub conntrack_max: Option<String>,
    /// Most connections of one container address, opened by it or to it [no limit].
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub host_connections: Option<String>,
    /// Most external ports that masquerade gives one container address [no limit].
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "text")]
    pub host_ports: Option<String>,
    /// How long a UDP port of masquerade rests before another container gets it [120s].
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub port_rest: Option<String>,
    /// Whether a TCP connection that is first seen in its middle is taken up: on or off [off].
    #[arg(long, value_name = "ON|OFF")]
    #[serde(deserialize_with = "text")]
    pub tcp_pickup: Option<String>,
    /// Whether multicast goes only to containers that asked for it: on or off [on].
    #[arg(long, value_name = "ON|OFF")]
    #[serde(deserialize_with = "text")]
    pub igmp_snooping: Option<String>,
    /// Log FORMAT/LEVEL: text or json / error, warn, info, debug or trace [text/info].
    #[arg(long, value_name = "FORMAT/LEVEL")]
    #[serde(deserialize_with = "text")]
    pub log: Option<String>,
}

impl Raw {
    /// These settings, and `file`'s where these say nothing. A list given here replaces the
    /// file's list.
    #[must_use]
    pub fn over(self, file: Raw) -> Raw {
        let list = |a: Vec<String>, b| if a.is_empty() { b } else { a };
        Raw {
            ports: list(self.ports, file.ports),
            attach: list(self.attach, file.attach),
            subnet: self.subnet.or(file.subnet),
            gateway: self.gateway.or(file.gateway),
            bridge: self.bridge.or(file.bridge),
            mtu: self.mtu.or(file.mtu),
            workers: self.workers.or(file.workers),
            bulk_worker: self.bulk_worker.or(file.bulk_worker),
            spin: self.spin.or(file.spin),
            latency: self.latency.or(file.latency),
            offload: self.offload.or(file.offload),
            control: self.control.or(file.control),
            host_netns: self.host_netns.or(file.host_netns),
            uplink: self.uplink.or(file.uplink),
            localhost: self.localhost.or(file.localhost),
            fdb_age: self.fdb_age.or(file.fdb_age),
            neigh_age: self.neigh_age.or(file.neigh_age),
            tcp_established_timeout: self
                .tcp_established_timeout
                .or(file.tcp_established_timeout),
            tcp_transitory_timeout: self.tcp_transitory_timeout.or(file.tcp_transitory_timeout),
            tcp_closing_timeout: self.tcp_closing_timeout.or(file.tcp_closing_timeout),
            udp_timeout: self.udp_timeout.or(file.udp_timeout),
            icmp_timeout: self.icmp_timeout.or(file.icmp_timeout),
            fragment_timeout: self.fragment_timeout.or(file.fragment_timeout),
            conntrack_max: self.conntrack_max.or(file.conntrack_max),
            host_connections: self.host_connections.or(file.host_connections),
            host_ports: self.host_ports.or(file.host_ports),
            port_rest: self.port_rest.or(file.port_rest),
            tcp_pickup: self.tcp_pickup.or(file.tcp_pickup),
            igmp_snooping: self.igmp_snooping.or(file.igmp_snooping),
            log: self.log.or(file.log),
        }
    }

    /// The names of all settings, as flags without `--` and as keys of the file.
    pub fn names() -> Vec<String> {
        Raw::augment_args(clap::Command::new("names"))
            .get_arguments()
            .filter_map(|a| a.get_long().map(str::to_owned))
            .collect()
    }
}

/// A string, a whole number or a truth value, as the text that the flag would take.
struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a whole number, true or false")
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<String, E> {
        Ok(v.to_string())
    }
}

fn text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    d.deserialize_any(Scalar).map(Some)
}

/// A list of strings, or one string that stands for a list of one.
struct List;

impl<'de> Visitor<'de> for List {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Vec<String>, E> {
        Ok(vec![v.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut out = Vec::new();
        while let Some(s) = seq.next_element::<String>()? {
            out.push(s);
        }
        Ok(out)
    }
}

fn texts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    d.deserialize_any(List)
}
