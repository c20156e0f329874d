//! What the workers report while the daemon runs.
//!
//! The number of a removed port is used again at once, and each worker reports a dead device by
//! itself. So reports are taken from the channel under the lock of the state only, and removing
//! a port throws away what was still said about it: a late report never meets the next port of
//! the same number.

use super::{Shared, State, quarantine};
use crate::netns::NetnsId;
use crossbeam_channel::Select;
use dataplane::base::{PortId, Role};
use dataplane::worker::Event;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Weak};

/// Starts the thread that hears the workers. It ends with them.
pub(super) fn watch(shared: &Arc<Shared>) -> io::Result<()> {
    let events = shared.workers.events();
    // Weak, or the workers would never end: they end when the last owner drops them.
    let shared: Weak<Shared> = Arc::downgrade(shared);
    std::thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || {
            loop {
                let mut select = Select::new();
                select.recv(&events);
                select.ready();
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let mut state = shared.state();
                while let Ok(event) = events.try_recv() {
                    shared.heard(&mut state, event);
                }
            }
        })
        .map(|_| ())
}

impl Shared {
    /// Has the workers let go of a port, and forgets it.
    pub(super) fn remove(&self, state: &mut State, id: PortId) {
        self.workers.remove(id);
        // All that the workers had to say about it has been said by now.
        let said: Vec<Event> = self.workers.events().try_iter().collect();
        if let Some(gone) = state.ports.remove(&id)
            && gone.role == Role::Access
        {
            state.addresses.release(gone.ip, gone.mac);
        }
        for event in said {
            match event {
                Event::PortGone(other) if other == id => {}
                other => self.heard(state, other),
            }
        }
    }

    /// Removes a port when the process ends whose namespace it is in. The queues of a TAP in a
    /// foreign user namespace keep the namespace alive, so its end would not be seen.
    pub(super) fn end_with(&self, pid: u32, id: PortId, netns: NetnsId) {
        let Some(shared) = self.me.get().cloned() else {
            return;
        };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(process) = pid.and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else {
            return;
        };
        let wait = move || {
            let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let mut state = shared.state();
            // The number may be another port's by now.
            if state.ports.get(&id).is_some_and(|a| a.netns_id == netns) {
                shared.gone(&mut state, id);
            }
        };
        let started = std::thread::Builder::new()
            .name("pid".to_owned())
            .spawn(wait);
        if let Err(e) = started {
            tracing::warn!("the end of the process will not be noticed: {e}");
        }
    }

    fn heard(&self, state: &mut State, event: Event) {
        match event {
            Event::PortGone(id) => self.gone(state, id),
            Event::PortsShort(proto) => self.hold_more(state, proto),
            Event::Panicked(id, frame) => {
                let name = state
                    .ports
                    .get(&id)
                    .map_or_else(|| format!("port {id}"), |a| a.name());
                let dir = self.plan.control.parent().unwrap_or(Path::new("."));
                let kept = match quarantine::keep(dir, &name, &frame) {
                    Ok(Some(path)) => format!("it is kept in {}", path.display()),
                    Ok(None) => "enough of these are kept already".to_owned(),
                    Err(e) => format!("it could not be kept: {e}"),
                };
                tracing::error!(
                    "a frame of {name} made a worker panic; the worker goes on; {kept}; please \
                     report it"
                );
            }
        }
    }

    /// A device died.
    fn gone(&self, state: &mut State, id: PortId) {
        let Some(was) = state.ports.get(&id).cloned() else {
            return;
        };
        self.remove(state, id);
        match was.role {
            Role::Access => tracing::info!(
                "{} is gone with its namespace or interface: detached, {} is free",
                was.name(),
                was.ip
            ),
            Role::Host => tracing::error!(
                "{} was taken away: the host reaches no container any more; start switchd again",
                was.name()
            ),
            Role::Uplink => tracing::error!(
                "the uplink {} is gone: nothing reaches or comes from outside any more; start \
                 switchd again",
                was.name()
            ),
        }
    }
}
