//! From a plan to a running switch.

use super::{Attachment, Daemon, Shared, State, events, nic, sockets};
use crate::api::{ApiError, ControlSocket, Kind, Server};
use crate::attach::{self, Spec, TXQLEN};
use crate::awake;
use crate::forward::{Relay, RelayConfig};
use crate::netlink::Real;
use crate::netns::Netns;
use crate::plan::spec::scalar::Offload;
use crate::plan::{Addresses, Failure, Plan, UplinkSpec, UplinkTap};
use crate::workers::{Far, Workers};
use dataplane::base::{Mac, Role};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

impl From<ApiError> for Failure {
    fn from(e: ApiError) -> Failure {
        match e.kind {
            Kind::BadInput => Failure::usage(e),
            Kind::Unknown | Kind::Conflict | Kind::Refused => Failure::refused(e),
        }
    }
}

/// See [`Daemon::start`]. Each step's value takes it away when a later one fails. Nothing is logged
/// before all have succeeded: a refused start says one sentence and no more.
pub(super) fn start(plan: Plan) -> Result<Daemon, Failure> {
    let socket = ControlSocket::bind(&plan.control).map_err(Failure::refused)?;
    let host = match &plan.host_netns {
        Some(r) => Netns::open(r).map_err(|e| Failure::Refused(format!("--host-netns: {e}")))?,
        None => Netns::current().map_err(Failure::refused)?,
    };
    check_routes(&plan, &host)?;
    let mut notes = Vec::new();
    if socket.took_over() {
        notes.push(format!(
            "took over {}, left by a daemon that was killed",
            plan.control.display()
        ));
    }
    // Without the right to make a namespace each TAP's helper tests for itself.
    let untested = plan.uplink.sockets().is_some() && !nix::unistd::geteuid().is_root();
    let offload = match untested {
        true => plan.offload,
        false => tested(plan.offload, &mut notes)?,
    };
    let while_busy = match plan.low_latency {
        true => Some(awake::hold().map_err(|e| Failure::Refused(e.to_string()))?),
        false => None,
    };
    let workers = Workers::start(&plan, while_busy)
        .map_err(|e| Failure::Refused(format!("cannot start the workers: {e}")))?;
    let engine = sockets::engine(&plan, workers.queues())?;
    let relay = match engine {
        Some(_) => None,
        None => relay(&plan, &host)?,
    };
    let shared = Arc::new(Shared {
        follow: OnceLock::new(),
        relay,
        sockets: engine,
        workers,
        offload,
        host: host.id(),
        ready: Instant::now(),
        state: Mutex::new(State {
            ports: BTreeMap::new(),
            addresses: Addresses::new(&plan.network),
            published: BTreeMap::new(),
            nic: None,
        }),
        me: OnceLock::new(),
        plan,
    });
    let _ = shared.me.set(Arc::downgrade(&shared));
    match &shared.sockets {
        Some(engine) => sockets::ports(&shared, engine)?,
        None => host_port(&shared, &host)?,
    }
    match &shared.plan.uplink {
        UplinkSpec::Tap(u) => uplink_port(&shared, u)?,
        UplinkSpec::Nic(u) => shared.share_nic(u, &host, &mut notes)?,
        UplinkSpec::Sockets(_) => {}
        UplinkSpec::None => notes.push(
            "no uplink: containers reach each other and the host, and nothing reaches or comes \
             from outside"
                .to_owned(),
        ),
    }
    // Not longer than needed: an open namespace can't end.
    drop(host);
    for a in shared.plan.attach.clone() {
        shared
            .attach_planned(&a)
            .map_err(|e| named("--attach", &a.netns, e))?;
    }
    for p in shared.plan.ports.clone() {
        shared
            .publish_parsed(p)
            .map_err(|e| named("--ports", &p, e))?;
    }
    nic::follow(&shared).map_err(|e| Failure::Refused(format!("cannot follow the host: {e}")))?;
    events::watch(&shared).map_err(|e| Failure::Refused(format!("cannot start a thread: {e}")))?;
    let server = Server::start(socket, shared.clone())
        .map_err(|e| Failure::Refused(format!("cannot serve the control socket: {e}")))?;
    for note in notes {
        tracing::info!("{note}");
    }
    for a in &shared.plan.attach {
        tracing::info!("attached {}@{} {} {}", a.name, a.netns, a.ip, a.mac);
    }
    for p in &shared.plan.ports {
        tracing::info!("published {p}");
    }
    let n = &shared.plan.network;
    tracing::info!(
        "ready: {} {}/{}, {} workers, offload {}, {} attached, {} published, control {}",
        n.bridge,
        n.gateway,
        n.subnet.prefix_len(),
        shared.workers.count(),
        shared.offload,
        shared.plan.attach.len(),
        shared.plan.ports.len(),
        shared.plan.control.display()
    );
    Ok(Daemon { server, shared })
}

/// The refusal with the flag and value that it is about.
fn named(flag: &str, value: &dyn std::fmt::Display, e: ApiError) -> Failure {
    Failure::from(ApiError {
        message: format!("{flag} {value}: {e}"),
        ..e
    })
}

/// The subnet must not hide a network that the host reaches otherwise.
fn check_routes(plan: &Plan, host: &Netns) -> Result<(), Failure> {
    let subnet = plan.network.subnet;
    let mut nl = Real::inside(host).map_err(Failure::refused)?;
    let hidden = attach::overlapping_route(&mut nl, subnet.network(), subnet.prefix_len(), None)
        .map_err(Failure::refused)?;
    match hidden {
        None => Ok(()),
        Some(r) => Err(Failure::Refused(format!(
            "the subnet {subnet} overlaps the host's route to {}/{}: choose another --subnet",
            r.dst, r.prefix
        ))),
    }
}

/// What of the wanted offloads works on this kernel.
fn tested(wanted: Offload, notes: &mut Vec<String>) -> Result<Offload, Failure> {
    if wanted == Offload::Off {
        return Ok(Offload::Off);
    }
    let found = attach::probe::probe(wanted.wanted());
    if wanted == Offload::On && found.offload != wanted.wanted() {
        return Err(Failure::Refused(format!(
            "--offload on: {}; use --offload auto",
            found.notes.join("; ")
        )));
    }
    notes.extend(found.notes);
    Ok(Offload::Only(found.offload))
}

fn relay(plan: &Plan, host: &Netns) -> Result<Option<Relay>, Failure> {
    if !plan.localhost {
        return Ok(None);
    }
    let inside = match plan.host_netns {
        None => None,
        Some(_) => Some(
            host.as_fd()
                .try_clone_to_owned()
                .map_err(|e| Failure::Refused(format!("no descriptor left: {e}")))?,
        ),
    };
    let config = RelayConfig {
        device: Some(plan.network.bridge.to_string()),
        ..RelayConfig::default()
    };
    Relay::start(inside, plan.network.gateway, config)
        .map(Some)
        .map_err(Failure::refused)
}

/// `sw0`: the gateway's address in the host's namespace.
fn host_port(shared: &Shared, host: &Netns) -> Result<(), Failure> {
    let n = &shared.plan.network;
    let spec = Spec {
        ifname: n.bridge.to_string(),
        mac: n.gateway_mac(),
        ip: n.gateway,
        prefix: n.subnet.prefix_len(),
        mtu: n.mtu,
        gateway: None,
        ipv6: false,
        txqlen: TXQLEN,
        queues: shared.workers.queues(),
        offload: shared.offload,
    };
    let netns = match &shared.plan.host_netns {
        Some(r) => r.to_string(),
        None => String::new(),
    };
    connect(shared, &spec, Role::Host, netns, host).map_err(|e| named("--bridge", &n.bridge, e))
}

/// The interface of the outside world, whose other end is the switch's external leg.
fn uplink_port(shared: &Shared, u: &UplinkTap) -> Result<(), Failure> {
    let done = (|| {
        let netns = super::ports::open(&u.netns)?;
        let spec = Spec {
            ifname: u.ifname.to_string(),
            mac: Mac::from_ip(u.peer.addr()),
            ip: u.peer.addr(),
            prefix: u.peer.prefix_len(),
            mtu: shared.plan.network.mtu,
            gateway: None,
            ipv6: false,
            txqlen: TXQLEN,
            queues: shared.workers.queues(),
            offload: shared.offload.outside(),
        };
        connect(shared, &spec, Role::Uplink, u.netns.to_string(), &netns)
    })();
    done.map_err(|e| named("--uplink", &u.netns, e))
}

fn connect(
    shared: &Shared,
    spec: &Spec,
    role: Role,
    label: String,
    netns: &Netns,
) -> Result<(), ApiError> {
    let attachment = Attachment {
        role,
        netns: label,
        netns_id: netns.id(),
        interface: spec.ifname.clone(),
        ip: spec.ip,
        mac: spec.mac,
    };
    let attached = attach::attach(spec, netns).map_err(super::ports::refusal)?;
    let far = Far {
        name: attachment.name(),
        role,
        mac: spec.mac,
        ip: spec.ip,
        mtu: spec.mtu,
    };
    let id = shared
        .workers
        .add(far, attached)
        .map_err(ApiError::refused)?;
    shared.state().ports.insert(id, attachment);
    Ok(())
}
