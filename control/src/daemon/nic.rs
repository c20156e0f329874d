//! The host's interface as uplink: taken up, followed, let go. See [`crate::uplink::nic`].
//!
//! All changes are made under the lock of the state, by whoever hears of their cause: the start,
//! the thread that follows the host, the workers' events, the API.

use super::{Attachment, Shared, State};
use crate::api::types::Uplink as Shown;
use crate::forward::{ForwardError, limits};
use crate::netlink::{Neighbour, News, Real, Watch};
use crate::netns::Netns;
use crate::plan::{Failure, Plan, UplinkNic};
use crate::uplink::nic::{Choice, Claim, Holders, View, hold};
use crate::workers::Far;
use dataplane::base::{PortId, Proto, Role};
use dataplane::nat::Publication;
use dataplane::port::filter::{self, OurPorts};
use dataplane::port::sys::{lookup::Quiet, packet};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Changes of the host mostly come several at a time: they are looked at after this.
const SETTLE: Duration = Duration::from_millis(20);

/// What is shared now, and what for.
pub(super) struct Nic {
    wanted: UplinkNic,
    host: Netns,
    limit: usize,
    holders: Option<Holders>,
    /// Keeps the kernel quiet about ports without a socket, where it can be.
    quiet: Option<Quiet>,
    echo: Vec<u16>,
    taken: Option<Taken>,
    /// Why nothing is shared, as it was last said.
    without: Option<String>,
}

struct Taken {
    choice: Choice,
    port: PortId,
    filter: packet::Filter,
    _claim: Claim,
}

impl Nic {
    pub(super) fn shown(&self, plan: &Plan) -> Option<Shown> {
        let Choice { name, leg, .. } = &self.taken.as_ref()?.choice;
        let router = Some(leg.next_hop).filter(|ip| !ip.is_unspecified());
        Some(Shown {
            netns: plan
                .host_netns
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            interface: name.clone(),
            ip: format!("{}/{}", leg.ip, leg.prefix),
            peer: router.map_or_else(String::new, |ip| ip.to_string()),
        })
    }

    fn index(&self) -> Option<u32> {
        self.taken.as_ref().map(|t| t.choice.index)
    }
}

/// The thread that follows the host; it ends with this.
pub(super) struct Follow {
    waker: Waker,
    stop: Arc<AtomicBool>,
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It can't be told by other means; if it can't be woken it sleeps until the process ends.
        let _ = self.waker.wake();
    }
}

/// Starts to follow the host, if its interface is the uplink.
pub(super) fn follow(shared: &Arc<Shared>) -> io::Result<()> {
    const NEWS: Token = Token(0);
    let mut watch = {
        let state = shared.state();
        let Some(nic) = &state.nic else {
            return Ok(());
        };
        nic.host.run(Watch::new).map_err(io::Error::other)??
    };
    let mut poll = Poll::new()?;
    let fd = watch.as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&fd), NEWS, Interest::READABLE)?;
    let waker = Waker::new(poll.registry(), Token(1))?;
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let weak: Weak<Shared> = Arc::downgrade(shared);
    std::thread::Builder::new()
        .name("follow".to_owned())
        .spawn(move || {
            let mut events = Events::with_capacity(8);
            // What happened between the first look and this one.
            let mut changed = true;
            loop {
                if !changed && poll.poll(&mut events, None).is_err() {
                    std::thread::sleep(SETTLE);
                }
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let news = watch.news().unwrap_or_else(|_| vec![News::Changed]);
                changed |= news.contains(&News::Changed);
                if changed {
                    std::thread::sleep(SETTLE);
                }
                let Some(shared) = weak.upgrade() else { return };
                shared.heard_of_host(news, std::mem::take(&mut changed));
            }
        })?;
    // Set once, here.
    let _ = shared.follow.set(Follow { waker, stop });
    Ok(())
}

impl Shared {
    /// At the start: takes the interface up if it can be had.
    pub(super) fn share_nic(
        &self,
        wanted: &UplinkNic,
        host: &Netns,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let mut state = self.state();
        state.nic = Some(Nic {
            wanted: wanted.clone(),
            host: host.try_clone().map_err(Failure::refused)?,
            limit: limits::raise(),
            holders: None,
            quiet: quiet(host, NOWHERE),
            echo: Vec::new(),
            taken: None,
            without: None,
        });
        let done = self.look_again(&mut state);
        let Some(nic) = &mut state.nic else {
            return Ok(());
        };
        match (done, &nic.taken) {
            (Ok(()), Some(t)) => notes.push(up(&t.choice)),
            (Err(why), _) if wanted.asked => {
                return Err(Failure::Refused(format!(
                    "--uplink {}: {why}",
                    word(wanted)
                )));
            }
            (Err(why), _) => {
                notes.push(format!("no uplink for now: {why}"));
                nic.without = Some(why);
            }
            (Ok(()), None) => {}
        }
        Ok(())
    }

    fn heard_of_host(&self, news: Vec<News>, changed: bool) {
        let mut state = self.state();
        for one in news {
            if let (News::Neighbour(n), Some(nic)) = (one, &state.nic) {
                self.neighbour(nic, &n);
            }
        }
        if !changed {
            return;
        }
        let was = state.nic.as_ref().and_then(|n| n.taken.as_ref());
        let was = was.map(|t| t.choice.clone());
        let done = self.look_again(&mut state);
        let Some(nic) = &mut state.nic else { return };
        match (done, &nic.taken) {
            (Ok(()), Some(t)) => {
                nic.without = None;
                match was {
                    Some(w) if w.index == t.choice.index && w.leg.ip == t.choice.leg.ip => {}
                    Some(w) if w.index == t.choice.index => tracing::info!(
                        "the uplink's address is {} now: connections by {} end",
                        t.choice.leg.ip,
                        w.leg.ip
                    ),
                    _ => tracing::info!("{}", up(&t.choice)),
                }
            }
            (Err(why), taken) if nic.without.as_ref() != Some(&why) => {
                let state = if taken.is_some() {
                    ""
                } else {
                    "no uplink for now: "
                };
                tracing::warn!("{state}{why}");
                nic.without = Some(why);
            }
            _ => {}
        }
    }

    /// Looks at the host and follows it. The error is a sentence; nothing is shared then.
    fn look_again(&self, state: &mut State) -> Result<(), String> {
        let Some(nic) = &mut state.nic else {
            return Ok(());
        };
        let view = nic
            .host
            .run(|| Real::new().map_err(|e| e.to_string()).and_then(look))
            .map_err(|e| e.to_string())??;
        let network = &self.plan.network;
        match view.choose(&nic.wanted, network, nic.index()) {
            Ok(choice) => self.share(state, choice),
            Err(why) => {
                self.let_go(state);
                let host = Choice::nothing(&view, network);
                self.workers.set_uplink(None, host);
                Err(why.to_string())
            }
        }
    }

    /// Shares what was chosen, or goes on sharing it.
    fn share(&self, state: &mut State, choice: Choice) -> Result<(), String> {
        let same = |a: &Choice, b: &Choice| {
            (a.index, a.leg.mac, a.leg.mtu) == (b.index, b.leg.mac, b.leg.mtu)
        };
        let Some(nic) = &mut state.nic else {
            return Ok(());
        };
        if let Some(taken) = &mut nic.taken
            && same(&taken.choice, &choice)
        {
            if taken.choice == choice {
                return Ok(());
            }
            let moved = taken.choice.leg.ip != choice.leg.ip;
            taken.choice = choice.clone();
            if let Some(a) = state.ports.get_mut(&taken.port) {
                (a.ip, a.interface) = (choice.leg.ip, choice.name.clone());
            }
            if moved {
                self.hold_here(state, &choice)?;
            }
            self.workers.set_uplink(Some(choice.leg), choice.host);
            self.show_what_is_ours(state);
            return Ok(());
        }
        self.let_go(state);
        self.take_up(state, choice)
    }

    fn take_up(&self, state: &mut State, choice: Choice) -> Result<(), String> {
        // Held before anything can be sent by them.
        self.hold_here(state, &choice)?;
        let program = filter::uplink(&ours(state));
        let queues = self.workers.count();
        let Some(nic) = &mut state.nic else {
            return Ok(());
        };
        if nic.quiet.is_some() {
            // A new one before the old one goes.
            nic.quiet = quiet(&nic.host, choice.index);
        }
        let opened = nic.host.run(|| {
            let claim = Claim::new(choice.index, &choice.name).map_err(|e| e.to_string())?;
            let open = packet::open(choice.index, queues, &program);
            let (queues, filter) = open.map_err(|e| format!("{}: {e}", choice.name))?;
            let known = Real::new().ok().and_then(|mut nl| nl.neighbours().ok());
            Ok::<_, String>((claim, queues, filter, known.unwrap_or_default()))
        });
        let (claim, queues, filter, known) = opened.map_err(|e| e.to_string())??;
        if let Some(relay) = &self.relay {
            relay
                .deaf_to(Some(choice.index))
                .map_err(|e| e.to_string())?;
        }
        self.workers
            .set_uplink(Some(choice.leg), choice.host.clone());
        let attachment = Attachment {
            role: Role::Uplink,
            netns: self
                .plan
                .host_netns
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            netns_id: self.host,
            interface: choice.name.clone(),
            ip: choice.leg.ip,
            mac: choice.leg.mac,
        };
        let far = Far {
            name: attachment.name(),
            role: Role::Uplink,
            mac: choice.leg.mac,
            ip: choice.leg.ip,
            mtu: choice.leg.mtu,
        };
        let port = self
            .workers
            .add_queues(far, queues)
            .map_err(|e| e.to_string())?;
        state.ports.insert(port, attachment);
        nic.taken = Some(Taken {
            choice,
            port,
            filter,
            _claim: claim,
        });
        known.iter().for_each(|n| self.neighbour(nic, n));
        keep_quiet(state)
    }

    /// Ends the sharing. Connections stay: they go on if their address comes back.
    fn let_go(&self, state: &mut State) {
        let Some(taken) = state.nic.as_mut().and_then(|n| n.taken.take()) else {
            return;
        };
        self.remove(state, taken.port);
        if let Some(relay) = &self.relay
            && let Err(e) = relay.deaf_to(None)
        {
            tracing::error!("{e}");
        }
    }

    /// Holds the ports of masquerade on the address of this choice.
    fn hold_here(&self, state: &mut State, choice: &Choice) -> Result<(), String> {
        let Some(nic) = &mut state.nic else {
            return Ok(());
        };
        let Nic {
            host,
            holders,
            echo,
            limit,
            ..
        } = nic;
        let (ip, limit) = (choice.leg.ip, *limit);
        host.run(|| {
            let each = [Proto::TCP, Proto::UDP];
            if let Some(h) = holders {
                if h.ip() == ip {
                    return;
                }
                for (proto, lost) in h.move_to(ip) {
                    self.workers.give_back(proto, &lost);
                }
                let blocks = each.iter().filter_map(|p| h.all(*p));
                blocks.for_each(|b| self.workers.lend(&b));
                return;
            }
            let (order, local) = hold::order_here();
            let mut h = Holders::new(ip, (&order, local));
            for proto in each {
                if let Some(block) = h.grow(proto, hold::FIRST, limit, false) {
                    self.workers.lend(&block);
                }
            }
            *echo = hold::echo_identifiers();
            self.workers.lend(&hold::Block {
                proto: Proto::ICMP,
                in_all: u32::try_from(echo.len()).unwrap_or(0),
                new: echo.clone(),
                bare: Vec::new(),
                span: (*hold::ECHO.start(), *hold::ECHO.end()),
            });
            *holders = Some(h);
        })
        .map_err(|e| e.to_string())
    }

    /// Masquerade is about to run out of ports: as many again, as far as the system gives them.
    pub(super) fn hold_more(&self, state: &mut State, proto: Proto) {
        let Some(nic) = &mut state.nic else { return };
        let (Some(holders), limit) = (&mut nic.holders, nic.limit) else {
            return;
        };
        let want = holders.count(proto).max(hold::FIRST);
        let bare = nic.quiet.is_some();
        let grown = nic.host.run(|| holders.grow(proto, want, limit, bare));
        match grown {
            Ok(Some(block)) => {
                if let Some(q) = &mut nic.quiet {
                    let done = block
                        .bare
                        .iter()
                        .try_for_each(|p| q.set(proto, *p, *p, true));
                    if let Err(e) = done {
                        return tracing::error!("cannot keep the kernel quiet: {e}");
                    }
                }
                // Shown before they are given out: an answer must find the way in.
                self.show_what_is_ours(state);
                self.workers.lend(&block);
            }
            Ok(None) => tracing::warn!(
                "no further {} port can be held for masquerade (descriptors: {limit}, ulimit -n): \
                 beyond those that are, connections share a port or are refused (ports_exhausted)",
                proto.name()
            ),
            Err(e) => tracing::error!("{e}"),
        }
    }

    /// Ports that are about to be published are masquerade's no longer: what uses them keeps them
    /// until it ends.
    pub(super) fn yield_ports(&self, state: &mut State, p: &Publication) {
        let Some(holders) = state.nic.as_mut().and_then(|n| n.holders.as_mut()) else {
            return;
        };
        let gone = holders.release(p.proto, p.first, p.last);
        if gone.is_empty() {
            return;
        }
        self.workers.give_back(p.proto, &gone);
        if let Some(rest) = holders.all(p.proto) {
            self.workers.lend(&rest);
        }
    }

    /// Where a shared uplink is wanted and there are no listeners: sockets that have the published
    /// ports, or none where the kernel is kept quiet about them otherwise.
    pub(super) fn hold_published(
        &self,
        state: &mut State,
        p: &Publication,
    ) -> Result<Vec<OwnedFd>, ForwardError> {
        let Some(nic) = &mut state.nic else {
            return Ok(Vec::new());
        };
        if p.host_ip.is_none()
            && let Some(q) = &mut nic.quiet
            && q.set(p.proto, p.first, p.last, true).is_ok()
        {
            return Ok(Vec::new());
        }
        let held = nic.host.run(|| hold::published(p, nic.limit));
        held.map_err(|e| ForwardError::Start(io::Error::other(e)))?
    }

    /// The kernel may speak about a withdrawn port again.
    pub(super) fn speak_again(&self, state: &mut State, p: &Publication) {
        if let Some(q) = state.nic.as_mut().and_then(|n| n.quiet.as_mut())
            && let Err(e) = q.set(p.proto, p.first, p.last, false)
        {
            tracing::error!("the kernel stays quiet about {p}: {e}");
        }
        if let Err(e) = keep_quiet(state) {
            tracing::error!("{e}");
        }
    }

    /// Has the kernel show the uplink's queues what is ours now.
    pub(super) fn show_what_is_ours(&self, state: &State) {
        let Some(taken) = state.nic.as_ref().and_then(|n| n.taken.as_ref()) else {
            return;
        };
        if let Err(e) = taken.filter.set(&filter::uplink(&ours(state))) {
            tracing::error!("cannot change what {} is shown: {e}", taken.choice.name);
        }
    }

    fn neighbour(&self, nic: &Nic, n: &Neighbour) {
        if nic.index() == Some(n.index) {
            self.workers.neighbour_outside(n.ip, n.mac, n.permanent);
        }
    }
}

/// No interface has this number.
const NOWHERE: u32 = i32::MAX.cast_unsigned();

/// Keeps the kernel quiet on an interface, if it lets us.
fn quiet(host: &Netns, index: u32) -> Option<Quiet> {
    let made = host.run(|| Quiet::new(index, host));
    match made {
        Ok(Ok(q)) => Some(q),
        Ok(Err(e)) => {
            tracing::debug!("no sk_lookup: {e}; each port needs a socket");
            None
        }
        Err(_) => None,
    }
}

/// All ports without a socket, after the interface changed.
fn keep_quiet(state: &mut State) -> Result<(), String> {
    let Some(nic) = &mut state.nic else {
        return Ok(());
    };
    let Some(q) = &mut nic.quiet else {
        return Ok(());
    };
    let published = state.published.values();
    let without = published.filter(|p| p.relay.is_none() && p.held.is_empty());
    let mut ports: Vec<(Proto, u16, u16)> = without
        .map(|p| &p.publication)
        .map(|p| (p.proto, p.first, p.last))
        .collect();
    for proto in [Proto::TCP, Proto::UDP] {
        let bare = nic.holders.iter().flat_map(|h| h.bare(proto));
        ports.extend(bare.map(|p| (proto, p, p)));
    }
    let done = ports
        .into_iter()
        .try_for_each(|(proto, a, b)| q.set(proto, a, b, true));
    done.map_err(|e| format!("cannot keep the kernel quiet about our ports: {e}"))
}

fn look(mut nl: Real) -> Result<View, String> {
    View::take(&mut nl).map_err(|e| e.to_string())
}

/// The external ports that are the switch's: published, and held for masquerade.
fn ours(state: &State) -> OurPorts {
    let mut ours = OurPorts::default();
    let published = state.published.values().map(|p| p.publication);
    for p in published {
        match p.proto {
            Proto::TCP => ours.tcp.push((p.first, p.last)),
            _ => ours.udp.push((p.first, p.last)),
        }
    }
    if let Some(nic) = &state.nic {
        if let Some(h) = &nic.holders {
            ours.tcp.extend(h.ports(Proto::TCP).map(|p| (p, p)));
            ours.udp.extend(h.ports(Proto::UDP).map(|p| (p, p)));
        }
        ours.echo.extend(nic.echo.iter().map(|id| (*id, *id)));
    }
    for list in [&mut ours.tcp, &mut ours.udp, &mut ours.echo] {
        join(list);
    }
    ours
}

/// Sorts ranges and joins those that touch.
fn join(list: &mut Vec<(u16, u16)>) {
    list.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::with_capacity(list.len().min(64));
    for (first, last) in list.drain(..) {
        match joined.last_mut() {
            Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    *list = joined;
}

fn up(c: &Choice) -> String {
    let router = match c.leg.next_hop {
        ip if ip.is_unspecified() => String::new(),
        ip => format!(" via {ip}"),
    };
    let (name, ip, prefix) = (&c.name, c.leg.ip, c.leg.prefix);
    format!("uplink {name} {ip}/{prefix}{router}, shared with the host")
}

fn word(wanted: &UplinkNic) -> String {
    match &wanted.ifname {
        Some(name) => format!("nic:{name}"),
        None => "nic".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut list = vec![(9, 9), (1, 3), (4, 4), (2, 2), (65_535, 65_535), (6, 7)];
        join(&mut list);
        assert_eq!(list, [(1, 4), (6, 7), (9, 9), (65_535, 65_535)]);
    }
}
