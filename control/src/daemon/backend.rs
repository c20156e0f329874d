//! What the control API answers.

use super::{Shared, sockets};
use crate::api::types::{
    Connection, FdbEntry, HostNetns, Neighbour, Port, Publication, Rules, Stats, Status, Uplink,
};
use crate::api::{ApiError, Backend, report};
use dataplane::base::Role;
use std::time::Duration;

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

impl Backend for Shared {
    fn status(&self) -> Status {
        let plan = &self.plan;
        let n = &plan.network;
        let (ports, publications, uplink) = {
            let state = self.state();
            let shared = state.nic.as_ref().and_then(|nic| nic.shown(plan));
            let tap = plan.uplink.tap().map(|u| Uplink {
                netns: u.netns.to_string(),
                interface: u.ifname.to_string(),
                ip: u.ip.to_string(),
                peer: u.peer.to_string(),
            });
            (state.ports.len(), state.published.len(), tap.or(shared))
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: millis(self.ready.elapsed()),
            bridge: n.bridge.to_string(),
            subnet: n.subnet.to_string(),
            gateway: n.gateway,
            gateway_mac: n.gateway_mac().to_string(),
            mtu: n.mtu,
            workers: self.workers.count(),
            offload: self.offload.to_string(),
            host_netns: HostNetns {
                name: plan
                    .host_netns
                    .as_ref()
                    .map_or_else(String::new, ToString::to_string),
                dev: self.host.dev,
                ino: self.host.ino,
            },
            uplink: self.sockets.as_ref().map(|_| sockets::shown()).or(uplink),
            localhost: plan.localhost,
            ports,
            publications,
            connections: self.workers.connection_count(),
        }
    }

    fn ports(&self) -> Vec<Port> {
        self.all_ports()
    }

    fn attach(&self, spec: &str) -> Result<Port, ApiError> {
        self.attach_spec(spec)
    }

    fn detach(&self, port: &str) -> Result<Port, ApiError> {
        self.detach_named(port)
    }

    fn publications(&self) -> Vec<Publication> {
        self.all_published()
    }

    fn publish(&self, spec: &str) -> Result<Publication, ApiError> {
        self.publish_words(spec)
    }

    fn unpublish(&self, which: &str) -> Result<Publication, ApiError> {
        self.unpublish_words(which)
    }

    fn fdb(&self) -> Vec<FdbEntry> {
        let state = self.state();
        let mut all: Vec<FdbEntry> = self
            .workers
            .fdb()
            .iter()
            .map(|r| {
                let port = state.ports.get(&r.port);
                let name = port.map_or_else(|| r.port.to_string(), |a| a.name());
                report::fdb(r, name, &self.plan.network)
            })
            .collect();
        all.sort_by(|a, b| (a.vlan, &a.mac).cmp(&(b.vlan, &b.mac)));
        all
    }

    fn neighbours(&self) -> Vec<Neighbour> {
        let uplink = self
            .state()
            .ports
            .values()
            .find(|a| a.role == Role::Uplink)
            .map_or_else(|| "uplink".to_owned(), |a| a.name());
        let mut all: Vec<Neighbour> = self
            .workers
            .neighbours()
            .iter()
            .map(|r| report::neighbour(r, &self.plan.network, &uplink))
            .collect();
        all.sort_by_key(|n| (n.device.clone(), n.ip));
        all
    }

    fn rules(&self) -> Rules {
        report::rules(&self.workers.rules(), &self.plan.network)
    }

    fn connections(&self) -> Vec<Connection> {
        self.workers
            .connections()
            .iter()
            .map(report::connection)
            .collect()
    }

    fn stats(&self) -> Stats {
        let (total, workers) = self.workers.totals();
        report::stats(
            &total,
            &workers,
            &self.workers.tables(),
            self.relay.as_ref().map(|r| r.stats()),
            self.sockets.as_ref().map(|s| s.report()),
        )
    }
}
