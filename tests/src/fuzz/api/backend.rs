//! A daemon without a machine: the words, the addresses and the switch are real, a port is a
//! vector.

use control::api::types::{
    Connection, FdbEntry, HostNetns, Neighbour, Port, PortRole, Publication, Rules, Stats, Status,
};
use control::api::{ApiError, Backend, report};
use control::plan::spec::publication;
use control::plan::validate::{complete, publication_fits};
use control::plan::{Addresses, Attach, AttachSpec, Network};
use control::workers::Tables;
use dataplane::base::{Config, Instant, PortId, PortSpec, Role, RuleId};
use dataplane::nat::NatReport;
use dataplane::port::Caps;
use dataplane::port::memory::MemoryPort;
use dataplane::worker::Inline;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

const NOW: Instant = Instant::from_secs(1);

struct State {
    sw: Inline,
    addresses: Addresses,
    ports: BTreeMap<PortId, Attach>,
}

/// The daemon.
pub(super) struct Memory {
    network: Network,
    state: Mutex<State>,
}

impl Memory {
    pub fn new() -> Memory {
        let network = Network {
            subnet: "10.0.0.0/29".parse().expect("a network"),
            gateway: "10.0.0.1".parse().expect("an address"),
            bridge: "sw0".parse().expect("a name"),
            mtu: 1_500,
        };
        let mut cfg = Config::new(network.subnet.network(), 29, network.gateway);
        cfg.limits.connections = 64;
        cfg.limits.fdb = 64;
        let state = State {
            sw: Inline::new(cfg, 1, NOW),
            addresses: Addresses::new(&network),
            ports: BTreeMap::new(),
        };
        Memory {
            network,
            state: Mutex::new(state),
        }
    }

    /// A panic under the lock shows as an answer that [`super::judge`] does not take.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn shown(s: &State, id: PortId) -> Option<Port> {
    let reports = s.sw.switch().port_reports();
    let r = reports.iter().find(|r| r.info.id == id)?;
    let a = s.ports.get(&id)?;
    Some(Port {
        id: id.0,
        name: format!("{}@{}", a.name, a.netns),
        interface: a.name.to_string(),
        netns: a.netns.to_string(),
        role: PortRole::Access,
        ip: Some(a.ip),
        mac: a.mac.to_string(),
        mtu: r.info.spec.mtu,
        rx_frames: r.rx_frames,
        rx_bytes: r.rx_bytes,
        tx_frames: r.tx_frames,
        tx_bytes: r.tx_bytes,
        drops: r.drops,
    })
}

fn nat(s: &State) -> NatReport {
    let sw = s.sw.switch();
    sw.chains.report(&sw.rules)
}

fn published(s: &State) -> Vec<Publication> {
    let rules = nat(s).rules;
    rules
        .iter()
        .map(|r| report::publication(r, false))
        .collect()
}

fn gone() -> ApiError {
    ApiError::unknown("it is gone")
}

impl Backend for Memory {
    fn status(&self) -> Status {
        let s = self.state();
        let n = &self.network;
        Status {
            version: "0".into(),
            pid: 1,
            uptime_ms: 0,
            bridge: n.bridge.to_string(),
            subnet: n.subnet.to_string(),
            gateway: n.gateway,
            gateway_mac: n.gateway_mac().to_string(),
            mtu: n.mtu,
            workers: s.sw.workers(),
            offload: "none".into(),
            host_netns: HostNetns {
                name: String::new(),
                dev: 0,
                ino: 0,
            },
            uplink: None,
            localhost: false,
            ports: s.ports.len(),
            publications: published(&s).len(),
            connections: 0,
        }
    }

    fn ports(&self) -> Vec<Port> {
        let s = self.state();
        s.ports.keys().filter_map(|id| shown(&s, *id)).collect()
    }

    fn attach(&self, spec: &str) -> Result<Port, ApiError> {
        let spec: AttachSpec = spec.parse().map_err(ApiError::bad)?;
        let mut s = self.state();
        let a = complete(&spec, &mut s.addresses).map_err(ApiError::conflict)?;
        let (_, queues) = MemoryPort::new(1, Caps::ALL);
        let port = PortSpec {
            name: a.name.to_string(),
            role: Role::Access,
            mac: a.mac,
            ip: Some(a.ip),
            mtu: self.network.mtu,
        };
        let id = match s.sw.add_port(port, queues, NOW) {
            Ok(id) => id,
            Err(e) => {
                s.addresses.release(a.ip, a.mac);
                return Err(ApiError::conflict(e));
            }
        };
        assert!(s.ports.insert(id, a).is_none(), "a port number twice");
        shown(&s, id).ok_or_else(gone)
    }

    fn detach(&self, words: &str) -> Result<Port, ApiError> {
        let mut s = self.state();
        let named = |a: &Attach| {
            a.netns.to_string() == words
                || format!("{}@{}", a.name, a.netns) == words
                || words.parse() == Ok(a.ip)
        };
        let found = s.ports.iter().find(|(_, a)| named(a)).map(|(id, _)| *id);
        let id = found.ok_or_else(gone)?;
        let port = shown(&s, id).ok_or_else(gone)?;
        assert!(s.sw.remove_port(id));
        if let Some(a) = s.ports.remove(&id) {
            s.addresses.release(a.ip, a.mac);
        }
        Ok(port)
    }

    fn publications(&self) -> Vec<Publication> {
        published(&self.state())
    }

    fn publish(&self, spec: &str) -> Result<Publication, ApiError> {
        let p = publication::parse(spec).map_err(ApiError::bad)?;
        publication_fits(&p, &self.network).map_err(ApiError::bad)?;
        let s = self.state();
        let id = s.sw.switch().publish(p).map_err(ApiError::conflict)?;
        let mut all = published(&s).into_iter();
        all.find(|p| p.id == id.0).ok_or_else(gone)
    }

    fn unpublish(&self, which: &str) -> Result<Publication, ApiError> {
        let s = self.state();
        let all = published(&s);
        let words = publication::parse(which).map(|p| p.to_string());
        let hit = all
            .into_iter()
            .find(|p| p.id.to_string() == which || words.as_ref() == Ok(&p.spec));
        let p = hit.ok_or_else(gone)?;
        s.sw.switch().unpublish(RuleId(p.id)).ok_or_else(gone)?;
        Ok(p)
    }

    fn fdb(&self) -> Vec<FdbEntry> {
        let s = self.state();
        let all = s.sw.switch().fdb.list(NOW.tick());
        all.iter()
            .map(|r| report::fdb(r, r.port.to_string(), &self.network))
            .collect()
    }

    fn neighbours(&self) -> Vec<Neighbour> {
        let s = self.state();
        let all = s.sw.switch().neigh.list(NOW.tick());
        all.iter()
            .map(|r| report::neighbour(r, &self.network, "uplink"))
            .collect()
    }

    fn rules(&self) -> Rules {
        report::rules(&nat(&self.state()), &self.network)
    }

    fn connections(&self) -> Vec<Connection> {
        let s = self.state();
        let all = s.sw.switch().conntrack.list(NOW.tick());
        all.iter().map(report::connection).collect()
    }

    fn stats(&self) -> Stats {
        let s = self.state();
        let total = s.sw.totals();
        report::stats(&total, &[], &Tables::default(), None, None)
    }
}
