//! A backend with one of everything, for tests. Every optional field is set, and the struct
//! literals name every field, so that a field added to a type has to be added here.

use super::types::*;
use super::{ApiError, Backend};
use crate::uplink::sockets::SocketsReport;
use std::sync::Mutex;

/// Remembers the words that it was given.
#[derive(Default)]
pub struct Fake {
    pub heard: Mutex<Vec<String>>,
}

fn ip(d: u8) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 0, 0, d)
}

const COUNT: Count = Count {
    packets: 1,
    bytes: 60,
};

pub fn port() -> Port {
    Port {
        id: 3,
        name: "eth0@web".into(),
        interface: "eth0".into(),
        netns: "web".into(),
        role: PortRole::Access,
        ip: Some(ip(2)),
        mac: "02:42:0a:00:00:02".into(),
        mtu: 1500,
        rx_frames: 10,
        rx_bytes: 840,
        tx_frames: 9,
        tx_bytes: 756,
        drops: 1,
    }
}

pub fn publication() -> Publication {
    Publication {
        id: 7,
        spec: "10.0.0.9:5000:10.0.0.2:5000/tcp".into(),
        proto: "tcp".into(),
        host_ip: Some(ip(9)),
        first: 5000,
        last: 5000,
        ip: ip(2),
        port: 5000,
        localhost: true,
        dnat: COUNT,
    }
}

fn counters() -> Counters {
    Counters {
        rx: 10,
        tx: 8,
        drops: 1,
        consumed: 1,
        originated: 0,
        copies: 0,
        held: 0,
        hits: 5,
        slow: 1,
        bridged: 3,
        flooded: 1,
        batches: 4,
        coalesced_writes: 0,
        segments: 0,
    }
}

fn tuple() -> Tuple {
    Tuple {
        src: ip(2),
        dst: ip(3),
        sport: Some(1),
        dport: Some(2),
        icmp_type: Some(8),
        icmp_id: Some(4),
    }
}

impl Fake {
    fn hear(&self, words: &str) -> Result<(), ApiError> {
        self.heard.lock().unwrap().push(words.to_owned());
        match words {
            "bad" => Err(ApiError::bad("bad words")),
            "unknown" => Err(ApiError::unknown("no such thing")),
            "taken" => Err(ApiError::conflict("taken")),
            "refused" => Err(ApiError::refused("refused")),
            "panic" => panic!("asked to"),
            _ => Ok(()),
        }
    }
}

impl Backend for Fake {
    fn status(&self) -> Status {
        Status {
            version: "0.1.0".into(),
            pid: 1,
            uptime_ms: 61_000,
            bridge: "sw0".into(),
            subnet: "10.0.0.0/24".into(),
            gateway: ip(1),
            gateway_mac: "02:42:0a:00:00:01".into(),
            mtu: 1500,
            workers: 2,
            offload: "auto".into(),
            host_netns: HostNetns {
                name: "sH".into(),
                dev: 4,
                ino: 4_026_531_840,
            },
            uplink: Some(Uplink {
                netns: "sO".into(),
                interface: "eth0".into(),
                ip: "192.0.2.1/24".into(),
                peer: "192.0.2.2/24".into(),
            }),
            localhost: true,
            ports: 3,
            publications: 1,
            connections: 2,
        }
    }

    fn ports(&self) -> Vec<Port> {
        vec![port()]
    }

    fn attach(&self, spec: &str) -> Result<Port, ApiError> {
        self.hear(spec).map(|()| port())
    }

    fn detach(&self, port_: &str) -> Result<Port, ApiError> {
        self.hear(port_).map(|()| port())
    }

    fn publications(&self) -> Vec<Publication> {
        vec![publication()]
    }

    fn publish(&self, spec: &str) -> Result<Publication, ApiError> {
        self.hear(spec).map(|()| publication())
    }

    fn unpublish(&self, which: &str) -> Result<Publication, ApiError> {
        self.hear(which).map(|()| publication())
    }

    fn fdb(&self) -> Vec<FdbEntry> {
        vec![FdbEntry {
            mac: "02:42:0a:00:00:02".into(),
            vlan: 0,
            port: "eth0@web".into(),
            bridge: "sw0".into(),
            permanent: false,
            is_static: false,
            idle_ms: 5,
        }]
    }

    fn neighbours(&self) -> Vec<Neighbour> {
        vec![Neighbour {
            ip: ip(2),
            mac: Some("02:42:0a:00:00:02".into()),
            device: "sw0".into(),
            state: "REACHABLE".into(),
            idle_ms: 5,
        }]
    }

    fn rules(&self) -> Rules {
        Rules {
            chains: vec![Chain {
                name: "DOCKER".into(),
                policy: Some(COUNT),
                references: Some(2),
                rules: vec![Rule {
                    publication: Some(7),
                    count: COUNT,
                    target: "DNAT".into(),
                    proto: "tcp".into(),
                    input: "!sw0".into(),
                    output: "*".into(),
                    source: "0.0.0.0/0".into(),
                    destination: "0.0.0.0/0".into(),
                    extra: "tcp dpt:5000 to:10.0.0.2:5000".into(),
                }],
            }],
        }
    }

    fn connections(&self) -> Vec<Connection> {
        vec![Connection {
            proto: "tcp".into(),
            proto_number: 6,
            expires_ms: 1,
            state: "ESTABLISHED".into(),
            orig: tuple(),
            reply: tuple(),
            replied: true,
            assured: true,
            publication: Some(7),
        }]
    }

    fn stats(&self) -> Stats {
        Stats {
            balance: Balance {
                came: 10,
                went: 10,
                holds: true,
            },
            total: counters(),
            workers: vec![counters()],
            drops: vec![Drop {
                reason: "land".into(),
                sentence: "source and destination address are the same".into(),
                frames: 1,
            }],
            tables: Tables {
                connections: 1,
                external_ports: 1,
                neighbours: 2,
                fdb: 3,
                fdb_learned: 4,
                fdb_moved: 1,
                fdb_evicted: 0,
                fdb_aged: 1,
            },
            localhost: Some(Localhost {
                listeners: 1,
                connections: 2,
                accepted: 3,
                refused: 1,
                reset: 0,
                bytes_in: 100,
                bytes_out: 200,
                sessions: 1,
                datagrams_in: 4,
                datagrams_out: 5,
                datagrams_dropped: 0,
            }),
            sockets: Some(SocketsReport {
                tcp_now: 1,
                tcp_out: 2,
                ..SocketsReport::default()
            }),
        }
    }
}
