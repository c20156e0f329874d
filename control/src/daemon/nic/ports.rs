//! Which external ports are the switch's, and that the host's kernel keeps quiet about them.

use super::Nic;
use crate::daemon::{Shared, State};
use crate::forward::ForwardError;
use crate::netns::Netns;
use crate::uplink::nic::{Choice, Holders, hold};
use dataplane::base::Proto;
use dataplane::nat::Publication;
use dataplane::port::filter::{self, OurPorts};
use dataplane::port::sys::lookup::Quiet;
use std::os::fd::OwnedFd;

impl Shared {
    /// Holds the ports of masquerade on the address of this choice.
    pub(super) fn hold_here(&self, state: &mut State, choice: &Choice) -> Result<(), String> {
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
                each.iter().for_each(|p| self.workers.lend(&h.all(*p)));
                return;
            }
            let (order, local) = hold::order_here();
            let mut h = Holders::new(ip, (&order, local));
            for proto in each {
                if let Some(block) = h.grow(proto, hold::FIRST, limit, false) {
                    self.workers.lend(&block);
                }
            }
            let identifiers = hold::echo_identifiers();
            *echo = identifiers.iter().map(|id| (*id, *id)).collect();
            join(echo);
            self.workers.lend(&hold::Block {
                proto: Proto::ICMP,
                in_all: u32::try_from(identifiers.len()).unwrap_or(0),
                new: identifiers,
                bare: Vec::new(),
                span: (*hold::ECHO.start(), *hold::ECHO.end()),
            });
            *holders = Some(h);
        })
        .map_err(|e| e.to_string())
    }

    /// Masquerade is about to run out of ports: as many again, as far as the system gives them.
    pub(in crate::daemon) fn hold_more(&self, state: &mut State, proto: Proto) {
        let Some(nic) = &mut state.nic else { return };
        let (Some(holders), limit) = (&mut nic.holders, nic.limit) else {
            return;
        };
        let want = holders.count(proto).max(hold::FIRST);
        let bare = nic.quiet.is_some() && !nic.quiet_no_more;
        let grown = nic.host.run(|| holders.grow(proto, want, limit, bare));
        match grown {
            Ok(Some(mut block)) => {
                if let Some(q) = &mut nic.quiet {
                    let done = block
                        .bare
                        .iter()
                        .try_for_each(|p| q.set(proto, *p, *p, true));
                    if let Err(e) = done {
                        // Those without a socket are not ours then.
                        nic.quiet_no_more = true;
                        block.bare.iter().for_each(|p| {
                            holders.release(proto, *p, *p, false);
                        });
                        block.new.retain(|p| !block.bare.contains(p));
                        block.in_all = u32::try_from(holders.count(proto)).unwrap_or(u32::MAX);
                        tracing::error!("cannot keep the kernel quiet: {e}");
                    }
                }
                nic.at_the_end.remove(&proto);
                // Shown before they are given out: an answer must find the way in.
                self.show_what_is_ours(state);
                self.workers.lend(&block);
            }
            Ok(None) => {
                self.workers.no_more_ports(proto);
                // It is asked for again and again: said once.
                if nic.at_the_end.insert(proto) {
                    tracing::warn!(
                        "no further {} port can be held for masquerade (descriptors: {limit}, \
                         ulimit -n): beyond those that are, connections share a port or are \
                         refused (ports_exhausted)",
                        proto.name()
                    );
                }
            }
            Err(e) => {
                self.workers.no_more_ports(proto);
                tracing::error!("{e}");
            }
        }
    }

    /// Ports that are about to be published are masquerade's no longer: what uses them keeps them
    /// until it ends.
    pub(in crate::daemon) fn yield_ports(&self, state: &mut State, p: &Publication) {
        let Some(nic) = state.nic.as_mut() else {
            return;
        };
        // As `listen` and `hold_published` decide: nobody binds them anew.
        let bare = self.relay.is_none() && p.host_ip.is_none() && nic.quiet.is_some();
        let Some(holders) = nic.holders.as_mut() else {
            return;
        };
        let gone = holders.release(p.proto, p.first, p.last, bare);
        if gone.is_empty() {
            return;
        }
        self.workers.give_back(p.proto, &gone);
        self.workers.lend(&holders.all(p.proto));
    }

    /// Ports that are published no longer can be held for masquerade again.
    pub(in crate::daemon) fn ports_are_free(&self, state: &mut State, p: &Publication) {
        let nic = state.nic.as_mut();
        if let Some(holders) = nic.and_then(|n| n.holders.as_mut()) {
            holders.put_back(p.proto, p.first, p.last);
        }
    }

    /// Where a shared uplink is wanted and there are no listeners: sockets that have the published
    /// ports, or none where the kernel is kept quiet about them otherwise.
    pub(in crate::daemon) fn hold_published(
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
            tracing::info!(
                "{p} has no sockets on the host: nothing keeps another program from such a port, and \
                 what comes in by the uplink it does not hear"
            );
            return Ok(Vec::new());
        }
        nic.host.run(|| hold::published(p, nic.limit))?
    }

    /// The kernel may speak about a withdrawn port again.
    pub(in crate::daemon) fn speak_again(&self, state: &mut State, p: &Publication) {
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
    pub(in crate::daemon) fn show_what_is_ours(&self, state: &State) {
        let Some(taken) = state.nic.as_ref().and_then(|n| n.taken.as_ref()) else {
            return;
        };
        if let Err(e) = taken.filter.set(&filter::uplink(&ours(state))) {
            tracing::error!("cannot change what {} is shown: {e}", taken.choice.name);
        }
    }
}

/// No interface has this number.
pub(super) const NOWHERE: u32 = i32::MAX.cast_unsigned();

/// Keeps the kernel quiet on an interface, if it lets us.
pub(super) fn quiet(host: &Netns, index: u32) -> Option<Quiet> {
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
pub(super) fn keep_quiet(state: &mut State) -> Result<(), String> {
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

/// The external ports that are the switch's: published, and held for masquerade.
pub(super) fn ours(state: &State) -> OurPorts {
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
        ours.echo.clone_from(&nic.echo);
    }
    for list in [&mut ours.tcp, &mut ours.udp] {
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
