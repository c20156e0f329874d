//! The host's interface as uplink: taken up, followed, let go. See [`crate::uplink::nic`].
//!
//! All changes are made under the lock of the state, by whoever hears of their cause: the start,
//! the thread that follows the host, the workers' events, the API.
//!
//! - `follow`: that thread, and what it does with the news;
//! - `ports`: which external ports are ours, and that the host's kernel keeps quiet about them.

mod follow;
mod ports;

pub(super) use follow::{Follow, follow};

use super::{Attachment, Shared, State};
use crate::api::types::Uplink as Shown;
use crate::forward::limits;
use crate::netlink::{Neighbour, Real};
use crate::netns::Netns;
use crate::plan::{Failure, Plan, UplinkNic};
use crate::uplink::nic::{Choice, Claim, Holders, View};
use crate::workers::Far;
use dataplane::base::{PortId, Proto, Role};
use dataplane::port::filter;
use dataplane::port::sys::{lookup::Quiet, packet};
use std::collections::HashSet;

/// What is shared now, and what for.
pub(super) struct Nic {
    wanted: UplinkNic,
    host: Netns,
    limit: usize,
    holders: Option<Holders>,
    /// Keeps the kernel quiet about ports without a socket, where it can be.
    quiet: Option<Quiet>,
    /// It could not be kept so about a further port: none without a socket is taken any more.
    quiet_no_more: bool,
    /// Protocols of which it was said that no more ports can be held.
    at_the_end: HashSet<Proto>,
    /// Ranges of echo identifiers that are masquerade's.
    echo: Vec<(u16, u16)>,
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
            quiet: ports::quiet(host, ports::NOWHERE),
            quiet_no_more: false,
            at_the_end: HashSet::new(),
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
        let program = filter::uplink(&ports::ours(state));
        let queues = self.workers.queues();
        let Some(nic) = &mut state.nic else {
            return Ok(());
        };
        if nic.quiet.is_some() {
            // A new one before the old one goes.
            nic.quiet = ports::quiet(&nic.host, choice.index);
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
        ports::keep_quiet(state)
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

    fn neighbour(&self, nic: &Nic, n: &Neighbour) {
        if nic.index() == Some(n.index) {
            self.workers.neighbour_outside(n.ip, n.mac, n.permanent);
        }
    }
}

fn look(mut nl: Real) -> Result<View, String> {
    View::take(&mut nl).map_err(|e| e.to_string())
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
