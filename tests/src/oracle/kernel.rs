//! The kernel's side: a namespace with a bridge, an uplink, and netfilter, whose wires are TAPs.
//!
//! A frame written to a TAP is received and forwarded before `write` returns, as long as nothing
//! defers it. That this is so is never assumed: a marked frame follows each step, by way of the
//! bridge to every container and by way of masquerade to the uplink, and what a port got is what
//! came before the mark there.

use super::conntrack;
use super::netfilter::Netfilter;
use super::rules::{self, Published};
use super::{Out, PORTS, Wire};
use crate::memory::packet::{self, Ip, eth, ipv4};
use crate::memory::{FAR, GW, PEER, UP, mac};
use control::netlink::{Address, LinkChange, Netlink, Real, Route};
use control::netns::{Netns, NetnsError};
use dataplane::base::{Mac, Proto, Tuple};
use dataplane::frame::{Batch, VnetHdr};
use dataplane::port::PortQueue;
use dataplane::port::sys::tap::{self, Offload, TapQueue};
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The container that sends the marks, on a port of its own.
const MARKER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 250);
/// EtherType of the mark on the bridge (IEEE 802, local experimental).
const MARK: u16 = 0x88b5;
/// Ports of the mark by the uplink.
const MARK_PORTS: (u16, u16) = (64_999, 64_998);
/// How long a port is read without a mark before the kernel is said to have lost it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is set in the namespace, and why.
const SETTINGS: [(&str, &str); 19] = [
    ("net/ipv4/ip_forward", "1"),
    // Segments that open nothing are refused, as by the switch.
    ("net/netfilter/nf_conntrack_tcp_loose", "0"),
    // Errors are compared one by one.
    ("net/ipv4/icmp_ratemask", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    // A container whose source address is not its network's is refused by the switch too.
    ("net/ipv4/conf/all/rp_filter", "1"),
    ("net/ipv4/conf/default/rp_filter", "1"),
    ("net/ipv4/conf/br0/rp_filter", "1"),
    ("net/ipv4/conf/up/rp_filter", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/br0/send_redirects", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/br0/accept_redirects", "0"),
    ("net/ipv4/conf/up/accept_redirects", "0"),
    // An address is answered for on its own side only.
    ("net/ipv4/conf/all/arp_ignore", "1"),
    // What an ICMP error says about the path would outlive its sequence.
    ("net/ipv4/route/mtu_expires", "0"),
    // Unfinished datagrams of a sequence are gone when their identification comes again.
    ("net/ipv4/ipfrag_time", "2"),
    ("net/ipv4/ipfrag_max_dist", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
];

/// The namespace with all that is open in it.
pub struct Kernel {
    netfilter: Netfilter,
    taps: Vec<TapQueue>,
    marker: TapQueue,
    batch: Batch,
    marks: [Vec<u8>; 2],
    published: Vec<Published>,
    netns: Netns,
}

fn set((name, value): &(&str, &str)) -> std::result::Result<(), String> {
    std::fs::write(format!("/proc/sys/{name}"), value).map_err(|e| format!("{name}: {e}"))
}

fn interface(nl: &mut Real, name: &str) -> Result<u32> {
    Ok(nl.link(name)?.ok_or("an interface is not there")?.index)
}

fn up(nl: &mut Real, index: u32, mac: Option<Mac>, master: Option<u32>) -> Result<()> {
    let change = LinkChange {
        mac,
        master,
        txqlen: Some(1_000),
        up: Some(true),
        ipv6_addresses: Some(false),
        ..LinkChange::default()
    };
    Ok(nl.change_link(index, &change)?)
}

impl Kernel {
    /// A new namespace, ready for frames.
    ///
    /// # Errors
    /// [`NetnsError::NeedsAdmin`] without the privilege; else what the kernel refused.
    pub fn new() -> Result<Kernel> {
        let netns = Netns::create()?;
        let mut nl = Real::inside(&netns)?;
        // Before there are interfaces, so that none comes up with an IPv6 address.
        netns.run(|| SETTINGS[17..].iter().try_for_each(set))??;
        nl.create_bridge("br0")?;
        let bridge = interface(&mut nl, "br0")?;
        let tap = |name: &str| -> Result<TapQueue> {
            let mut device = netns.run(|| tap::create(name, 1, Offload::NONE))??;
            Ok(device.queues.remove(0))
        };
        let names = ["web", "db", "app", "up", "mark"];
        let mut taps = names.into_iter().map(tap).collect::<Result<Vec<_>>>()?;
        let marker = taps.pop().ok_or("no tap")?;
        for name in ["web", "db", "app", "mark"] {
            let index = interface(&mut nl, name)?;
            up(&mut nl, index, None, Some(bridge))?;
        }
        let uplink = interface(&mut nl, "up")?;
        for (index, ip) in [(bridge, GW), (uplink, UP)] {
            up(&mut nl, index, Some(mac(ip)), None)?;
            let prefix = 24;
            nl.add_address(&Address { index, ip, prefix })?;
        }
        netns.run(|| {
            // Bridged frames don't meet the rules of IPv4. The file is there with br_netfilter.
            let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
            SETTINGS.iter().try_for_each(set)
        })??;
        nl.add_route(&Route::default_via(PEER, uplink))?;
        for host in PORTS {
            let index = if host == PEER { uplink } else { bridge };
            nl.add_neighbour(index, host, mac(host))?;
        }
        let mut netfilter = Netfilter::inside(&netns)?;
        rules::load(&mut netfilter, bridge, uplink)?;
        let mut kernel = Kernel {
            netfilter,
            taps,
            marker,
            batch: Batch::default(),
            marks: marks(),
            published: Vec::new(),
            netns,
        };
        kernel.settle()?;
        Ok(kernel)
    }

    /// Sets what is below `/proc/sys` for the namespace.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn set(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.netns.run(|| settings.iter().try_for_each(set))??;
        Ok(())
    }

    /// Every container is heard once, so that the bridge knows its port.
    fn settle(&mut self) -> Result<()> {
        for (i, host) in PORTS.into_iter().enumerate().take(3) {
            let hello = eth(mac(GW), mac(host), MARK, &[0; 46]);
            self.taps[i].send(&VnetHdr::PLAIN, &[IoSlice::new(&hello)])?;
        }
        self.gather().map(drop)
    }

    /// Forgets all connections and withdraws all ports; the bridge hears every container again, so
    /// that none is forgotten for its age while the machine stands still.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn reset(&mut self) -> Result<()> {
        if !self.published.is_empty() {
            let all = std::mem::take(&mut self.published);
            rules::unpublish(&mut self.netfilter, &all)?;
        }
        conntrack::flush(&mut self.netfilter)?;
        self.settle()
    }

    /// Publishes ports.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn publish(&mut self, all: &[Published]) -> Result<()> {
        rules::publish(&mut self.netfilter, all)?;
        self.published.extend(all);
        Ok(())
    }

    /// Publishes a port while there are connections. The kernel remembers datagrams that it
    /// refused before; Docker makes it forget them.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn publish_late(&mut self, one: &Published, by: Option<&[Tuple]>) -> Result<()> {
        self.publish(std::slice::from_ref(one))?;
        self.forget(one, by)
    }

    /// Forgets the connections to a port: those of these tuples, or all.
    fn forget(&mut self, one: &Published, by: Option<&[Tuple]>) -> Result<()> {
        let Some(tuples) = by else {
            return Ok(conntrack::forget(&mut self.netfilter, one.0, UP, one.1)?);
        };
        let to_it = |t: &&Tuple| (t.proto, t.dst, t.dport) == (one.0, UP, one.1);
        for t in tuples.iter().filter(to_it) {
            conntrack::forget_one(&mut self.netfilter, t)?;
        }
        Ok(())
    }

    /// Withdraws a port, and the connections by it, as Docker and the switch do.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn unpublish(&mut self, one: &Published, by: Option<&[Tuple]>) -> Result<()> {
        rules::unpublish(&mut self.netfilter, std::slice::from_ref(one))?;
        self.published.retain(|p| p != one);
        self.forget(one, by)
    }

    /// Sends frames in by their ports and gives what comes out by each port.
    ///
    /// # Errors
    /// When a TAP is gone, or a mark did not come out.
    pub fn exchange(&mut self, wires: &[Wire]) -> Result<Vec<Out>> {
        for w in wires {
            let parts = [IoSlice::new(&w.bytes)];
            match self.taps[w.port].send(&w.hdr, &parts) {
                // What a TAP does not take has not come in.
                Ok(()) | Err(dataplane::port::SendError::Refused) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.gather()
    }

    /// Sends the marks and reads each port up to its own.
    fn gather(&mut self) -> Result<Vec<Out>> {
        for mark in &self.marks {
            self.marker.send(&VnetHdr::PLAIN, &[IoSlice::new(mark)])?;
        }
        let mut out = Vec::new();
        for port in 0..self.taps.len() {
            let mut marked = false;
            let end = Instant::now() + PATIENCE;
            while Instant::now() < end {
                self.batch.clear();
                self.taps[port].recv(&mut self.batch, usize::MAX)?;
                for f in self.batch.frames() {
                    let bytes = f.bytes();
                    match is_mark(bytes) {
                        true => marked = true,
                        false if is_own_affair(bytes) => {}
                        false if marked => {
                            return Err(format!("behind the mark at {port}: {bytes:02x?}").into());
                        }
                        false => out.push(Out::new(port, bytes)),
                    }
                }
                if marked {
                    break;
                }
                std::thread::yield_now();
            }
            if !marked {
                return Err(format!("no mark at port {port}").into());
            }
        }
        // Floods reach the marker as well.
        self.batch.clear();
        self.marker.recv(&mut self.batch, usize::MAX)?;
        Ok(out)
    }
}

/// One for the bridge, one for the uplink.
fn marks() -> [Vec<u8>; 2] {
    let t = packet::udp_tuple(MARKER, MARK_PORTS.0, FAR, MARK_PORTS.1);
    let datagram = packet::udp(&t, b"mark");
    let routed = ipv4(&Ip::default(), &t, &datagram);
    let all = Mac([0xff; 6]);
    [
        eth(all, mac(MARKER), MARK, &[1; 46]),
        eth(mac(GW), mac(MARKER), 0x0800, &routed),
    ]
}

fn is_mark(bytes: &[u8]) -> bool {
    let at = |i: usize| bytes.get(i..i + 2).unwrap_or(&[]);
    let udp = bytes.get(23) == Some(&Proto::UDP.0);
    at(12) == MARK.to_be_bytes() || (udp && at(36) == MARK_PORTS.1.to_be_bytes())
}

/// What a router says when it pleases: ARP requests, IGMP reports, and that a datagram for
/// itself stayed incomplete (ICMP 11/1) some seconds ago.
pub(super) fn is_own_affair(bytes: &[u8]) -> bool {
    if bytes.get(12..14) == Some(&[8, 6]) {
        let asks = bytes.get(20..22) == Some(&[0, 1]);
        let speaks = |ip: Ipv4Addr| bytes.get(28..32) == Some(&ip.octets());
        return asks && (speaks(GW) || speaks(UP));
    }
    let own = |ip: Ipv4Addr| bytes.get(26..30) == Some(&ip.octets());
    match bytes.get(23).copied().map(Proto) {
        Some(Proto::IGMP) => own(GW) || own(UP),
        Some(Proto::ICMP) => (own(GW) || own(UP)) && bytes.get(34..36) == Some(&[11, 1]),
        _ => false,
    }
}

/// Whether an error means that this user may make no namespace.
pub fn lacks_privilege(e: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(
        e.downcast_ref::<NetnsError>(),
        Some(NetnsError::NeedsAdmin { .. })
    )
}
