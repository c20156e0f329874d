//! The thread that hears what changes on the host.

use super::up;
use crate::daemon::Shared;
use crate::netlink::{News, Watch};
use crate::uplink::nic::Choice;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Changes of the host mostly come several at a time: they are looked at after this.
const SETTLE: Duration = Duration::from_millis(20);

/// The thread that follows the host; it ends with this.
pub(in crate::daemon) struct Follow {
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
pub(in crate::daemon) fn follow(shared: &Arc<Shared>) -> io::Result<()> {
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
                let of = |c: &Choice| (c.index, c.leg.ip);
                match was {
                    Some(w) if of(&w) == of(&t.choice) => {}
                    Some(w) if w.index == t.choice.index && w.leg.ip != t.choice.leg.ip => {
                        tracing::info!(
                            "the uplink's address is {} now, and was {}",
                            t.choice.leg.ip,
                            w.leg.ip
                        )
                    }
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
}
