//! The only file that commands the dataplane: what the plan says, in the dataplane's words.

use crate::attach::Attached;
use crate::plan::{Plan, UplinkSpec};
use crate::uplink::nic::hold::Block;
use crate::uplink::sockets;
use crossbeam_channel::Receiver;
use dataplane::base::{HostNet, Instant, Mac, PortId, Proto, Role, RuleId};
use dataplane::conntrack::ConnReport;
use dataplane::l2::FdbReport;
use dataplane::nat::{NatReport, Publication, PublishError};
use dataplane::neigh::NeighReport;
use dataplane::port::PortQueue;
use dataplane::slow::{Config, PortSpec, UplinkConfig};
pub use dataplane::worker::Tables;
use dataplane::worker::{AddPortError, Event, Pace, PortReport, Runtime, WhileBusy};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

pub use dataplane::base::counters::Totals;

/// The running workers.
pub struct Workers {
    runtime: Runtime,
}

/// The interface at the other end of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Far {
    /// Name of the port for people.
    pub name: String,
    /// What it is to the switch.
    pub role: Role,
    /// Its MAC.
    pub mac: Mac,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its MTU in IP bytes.
    pub mtu: u16,
}

impl Workers {
    /// Starts the workers of a plan, without ports and rules. `while_busy` is told when one of
    /// them gets busy and when it falls idle.
    ///
    /// # Errors
    /// When the system gives no threads or descriptors.
    pub fn start(plan: &Plan, while_busy: Option<WhileBusy>) -> io::Result<Workers> {
        let config = config(plan, secret());
        let origin = std::time::Instant::now();
        let clock = Arc::new(move || {
            Instant(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
        });
        let pace = Pace {
            spin: plan.spin,
            pause: match plan.low_latency {
                true => Duration::ZERO,
                false => Pace::default().pause,
            },
            bulk_worker: plan.bulk_worker,
            while_busy,
        };
        let shared = config.host.is_some();
        let runtime = Runtime::start(config, plan.workers, &pace, clock)?;
        if shared {
            runtime.switch().external.share_with_host();
        }
        Ok(Workers { runtime })
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        self.runtime.workers()
    }

    /// Queues that a port is to have.
    pub fn queues(&self) -> usize {
        self.runtime.queues()
    }

    /// Connects an interface.
    ///
    /// # Errors
    /// No room, or a MAC in use. The interface is gone then.
    pub fn add(&self, far: Far, attached: Attached) -> Result<PortId, AddPortError> {
        self.add_queues(far, attached.queues)
    }

    /// Connects something by its [`Workers::queues`].
    ///
    /// # Errors
    /// As [`Workers::add`].
    pub fn add_queues(
        &self,
        far: Far,
        queues: Vec<Box<dyn PortQueue>>,
    ) -> Result<PortId, AddPortError> {
        let spec = PortSpec {
            name: far.name,
            role: far.role,
            mac: far.mac,
            ip: Some(far.ip),
            mtu: far.mtu,
        };
        self.runtime.add_port(spec, queues)
    }

    /// Disconnects an interface, which takes it away. False when there is no such port.
    pub fn remove(&self, id: PortId) -> bool {
        self.runtime.remove_port(id)
    }

    /// Changes the outside, and what is known of the host whose interface it shares.
    pub fn set_uplink(&self, leg: Option<UplinkConfig>, host: HostNet) {
        match self.runtime.set_uplink(leg, Some(Arc::new(host))) {
            0 => {}
            n => tracing::info!("{n} connections ended whose address is gone (address_gone)"),
        }
    }

    /// Gives masquerade ports that the host lends.
    pub fn lend(&self, block: &Block) {
        // Nobody can be asked for another block of identifiers.
        let more = block.proto != Proto::ICMP;
        let (proto, new) = (block.proto, &block.new);
        self.runtime
            .lend(proto, new, block.in_all, block.span, more);
    }

    /// The host lends no more ports for now.
    pub fn no_more_ports(&self, proto: Proto) {
        self.runtime.no_more_ports(proto);
    }

    /// Takes ports from masquerade that the host wants back.
    pub fn give_back(&self, proto: Proto, ports: &[u16]) {
        self.runtime.switch().external.give_back(proto, ports);
    }

    /// Tells of a neighbour outside that the host knows.
    pub fn neighbour_outside(&self, ip: Ipv4Addr, mac: Mac, permanent: bool) {
        self.runtime.neighbour_outside(ip, mac, permanent);
    }

    /// Publishes a port.
    ///
    /// # Errors
    /// An overlap with another one.
    pub fn publish(&self, p: Publication) -> Result<RuleId, PublishError> {
        self.runtime.publish(p)
    }

    /// Withdraws a published port; its connections are gone when this returns.
    pub fn unpublish(&self, id: RuleId) -> Option<Publication> {
        self.runtime.unpublish(id)
    }

    /// The ports with their counters.
    pub fn ports(&self) -> Vec<PortReport> {
        self.runtime.ports()
    }

    /// The rules with their counters.
    pub fn rules(&self) -> NatReport {
        self.runtime.rules()
    }

    /// The forwarding database.
    pub fn fdb(&self) -> Vec<FdbReport> {
        self.runtime.fdb()
    }

    /// The neighbours.
    pub fn neighbours(&self) -> Vec<NeighReport> {
        self.runtime.neighbours()
    }

    /// The tracked connections.
    pub fn connections(&self) -> Vec<ConnReport> {
        self.runtime.connections()
    }

    /// How many there are.
    pub fn connection_count(&self) -> usize {
        usize::try_from(self.runtime.switch().conntrack.len()).unwrap_or(usize::MAX)
    }

    /// All counters: the sum, and each worker's. The sum holds what was done outside the workers
    /// too (frames that waited for a port that was removed).
    pub fn totals(&self) -> (Totals, Vec<Totals>) {
        let (sum, mut each) = self.runtime.totals();
        each.truncate(self.count());
        (sum, each)
    }

    /// How full the tables are.
    pub fn tables(&self) -> Tables {
        self.runtime.tables()
    }

    /// What the workers tell. The channel ends with them.
    pub fn events(&self) -> Receiver<Event> {
        self.runtime.events()
    }
}

/// The dataplane's configuration for a plan.
pub fn config(plan: &Plan, hash_key: [u64; 3]) -> Config {
    let n = &plan.network;
    Config {
        subnet: n.subnet.network(),
        prefix: n.subnet.prefix_len(),
        gateway: n.gateway,
        gateway_mac: n.gateway_mac(),
        mtu: n.mtu,
        host: matches!(plan.uplink, UplinkSpec::Nic(_)).then(Arc::default),
        uplink: uplink(plan),
        timeouts: plan.timeouts,
        limits: plan.limits,
        tcp_pickup: plan.tcp_pickup,
        igmp_snooping: plan.igmp_snooping,
        hash_key,
    }
}

/// The switch's own leg outside: in a namespace, or towards the engine of `--uplink sockets`.
fn uplink(plan: &Plan) -> Option<UplinkConfig> {
    let leg = |ip, prefix, next_hop| UplinkConfig {
        ip,
        prefix,
        mac: Mac::from_ip(ip),
        next_hop,
        mtu: plan.network.mtu,
    };
    match &plan.uplink {
        UplinkSpec::Tap(u) => Some(leg(u.ip.addr(), u.ip.prefix_len(), u.peer.addr())),
        UplinkSpec::Sockets(_) => Some(leg(sockets::EXTERNAL, sockets::PREFIX, sockets::NEXT_HOP)),
        // Of an interface the address is found as the host has it.
        UplinkSpec::Nic(_) | UplinkSpec::None => None,
    }
}

/// A secret for the hashes of tables that strangers fill: the standard library's hashers are
/// keyed with random numbers of the kernel, and need no file for it.
fn secret() -> [u64; 3] {
    [0u8, 1, 2].map(|n| RandomState::new().hash_one(n))
}
