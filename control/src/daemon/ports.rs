//! Attach and detach.

use super::{Attachment, Shared, State};
use crate::api::ApiError;
use crate::api::types::{Port, PortRole};
use crate::attach::{self, AttachError, Spec, TXQLEN};
use crate::netns::{Netns, NetnsError, NetnsRef};
use crate::plan::addresses::AddressError;
use crate::plan::validate;
use crate::plan::{Attach, AttachSpec, Undo};
use crate::workers::Far;
use dataplane::base::{PortId, Role};
use dataplane::worker::{AddPortError, PortReport};
use std::net::Ipv4Addr;

/// Opens a namespace; an unknown one is [`crate::api::Kind::Unknown`].
pub(super) fn open(r: &NetnsRef) -> Result<Netns, ApiError> {
    Netns::open(r).map_err(|e| match &e {
        NetnsError::Unknown { .. } | NetnsError::NoProcess(_) | NetnsError::NoFile { .. } => {
            ApiError::unknown(e)
        }
        NetnsError::NotANamespace(_) => ApiError::bad(e),
        NetnsError::Exists(_) | NetnsError::NeedsAdmin { .. } | NetnsError::Io { .. } => {
            ApiError::refused(e)
        }
    })
}

pub(super) fn refusal(e: AttachError) -> ApiError {
    match e {
        AttachError::Exists { .. } | AttachError::DefaultRoute { .. } => ApiError::conflict(e),
        _ => ApiError::refused(e),
    }
}

fn unfit(e: AddressError) -> ApiError {
    match e {
        AddressError::Outside { .. } | AddressError::Reserved { .. } => ApiError::bad(e),
        _ => ApiError::conflict(e),
    }
}

impl Shared {
    /// Attaches what a person asked for.
    pub(super) fn attach_spec(&self, words: &str) -> Result<Port, ApiError> {
        let spec: AttachSpec = words.parse().map_err(ApiError::bad)?;
        let mut state = self.state();
        let planned = validate::complete(&spec, &mut state.addresses).map_err(unfit)?;
        let id = self.attach_taken(&mut state, &planned)?;
        let Attach {
            name,
            netns,
            ip,
            mac,
        } = &planned;
        tracing::info!("attached {name}@{netns} {ip} {mac}");
        self.port(&state, id)
    }

    /// Attaches what the plan says.
    pub(super) fn attach_planned(&self, a: &Attach) -> Result<(), ApiError> {
        let mut state = self.state();
        let label = format!("{}@{}", a.name, a.netns);
        state.addresses.take(a.ip, a.mac, &label).map_err(unfit)?;
        self.attach_taken(&mut state, a).map(|_| ())
    }

    /// Attaches with an address that has been taken; gives it back on failure.
    fn attach_taken(&self, state: &mut State, a: &Attach) -> Result<PortId, ApiError> {
        let State {
            ports, addresses, ..
        } = state;
        let mut undo = Undo::new();
        undo.done("take the address", || addresses.release(a.ip, a.mac));
        let netns = open(&a.netns)?;
        if netns.id() == self.host {
            return Err(ApiError::conflict(format!(
                "{} is the host's namespace, which {} connects already",
                a.netns, self.plan.network.bridge
            )));
        }
        let ours = ports
            .values()
            .any(|p| p.netns_id == netns.id() && p.role == Role::Access);
        let n = &self.plan.network;
        let spec = Spec {
            ifname: a.name.to_string(),
            mac: a.mac,
            ip: a.ip,
            prefix: n.subnet.prefix_len(),
            mtu: n.mtu,
            // A second interface in one namespace finds the first one's default route.
            gateway: (!ours).then_some(n.gateway),
            ipv6: true,
            txqlen: TXQLEN,
            queues: self.workers.queues(),
            offload: self.offload,
        };
        let attached = attach::attach(&spec, &netns).map_err(refusal)?;
        let attachment = Attachment {
            role: Role::Access,
            netns: a.netns.to_string(),
            netns_id: netns.id(),
            interface: spec.ifname,
            ip: a.ip,
            mac: a.mac,
        };
        let far = Far {
            name: attachment.name(),
            role: Role::Access,
            mac: a.mac,
            ip: a.ip,
            mtu: n.mtu,
        };
        let id = self.workers.add(far, attached).map_err(|e| match e {
            AddPortError::DuplicateMac(..) | AddPortError::Taken(..) => ApiError::conflict(e),
            AddPortError::Full(_) | AddPortError::Worker(_) => ApiError::refused(e),
        })?;
        undo.keep();
        if let NetnsRef::Pid(pid) = a.netns
            && attach::foreign::owner(&netns).is_some()
        {
            self.end_with(pid, id, attachment.netns_id);
        }
        ports.insert(id, attachment);
        Ok(id)
    }

    /// Detaches the one port that the words name.
    pub(super) fn detach_named(&self, words: &str) -> Result<Port, ApiError> {
        let mut state = self.state();
        let id = find(&state, words)?;
        let port = self.port(&state, id)?;
        self.remove(&mut state, id);
        tracing::info!("detached {}", port.name);
        Ok(port)
    }

    fn port(&self, state: &State, id: PortId) -> Result<Port, ApiError> {
        let reports = self.workers.ports();
        let report = reports.iter().find(|r| r.info.id == id);
        match (report, state.ports.get(&id)) {
            (Some(r), Some(a)) => Ok(shown(r, a)),
            _ => Err(ApiError::unknown("the port is gone")),
        }
    }

    /// All ports, the host's first, then in the order of their numbers.
    pub(super) fn all_ports(&self) -> Vec<Port> {
        let state = self.state();
        let mut ports: Vec<Port> = self
            .workers
            .ports()
            .iter()
            .filter_map(|r| state.ports.get(&r.info.id).map(|a| shown(r, a)))
            .collect();
        ports.sort_by_key(|p| (p.role != PortRole::Host, p.id));
        ports
    }
}

/// The container's port with this namespace, `interface@namespace` or address.
fn find(state: &State, words: &str) -> Result<PortId, ApiError> {
    let ip: Option<Ipv4Addr> = words.parse().ok();
    let hits: Vec<_> = state
        .ports
        .iter()
        .filter(|(_, a)| a.netns == words || a.name() == words || ip == Some(a.ip))
        .collect();
    match hits.as_slice() {
        [(id, a)] if a.role == Role::Access => Ok(**id),
        [(_, a)] => Err(ApiError::conflict(format!(
            "{} belongs to the switch itself: it goes when the daemon ends",
            a.name()
        ))),
        [] => Err(ApiError::unknown(format!(
            "nothing is attached as '{words}': see switchctl ports"
        ))),
        several => {
            let names: Vec<String> = several.iter().map(|(_, a)| a.name()).collect();
            Err(ApiError::conflict(format!(
                "'{words}' has several ports: say {}",
                names.join(" or ")
            )))
        }
    }
}

fn shown(r: &PortReport, a: &Attachment) -> Port {
    Port {
        id: r.info.id.0,
        name: a.name(),
        interface: a.interface.clone(),
        netns: a.netns.clone(),
        role: match a.role {
            Role::Access => PortRole::Access,
            Role::Host => PortRole::Host,
            Role::Uplink => PortRole::Uplink,
        },
        ip: Some(a.ip),
        mac: a.mac.to_string(),
        mtu: r.info.spec.mtu,
        rx_frames: r.rx_frames,
        rx_bytes: r.rx_bytes,
        tx_frames: r.tx_frames,
        tx_bytes: r.tx_bytes,
        drops: r.drops,
    }
}
