//! The running switch as its owner sees it: threads, ports, rules, reports.

use super::messages::{Command, Event};
use super::run::{Clock, Pace, Worker};
use crate::base::counters::Totals;
use crate::base::{Config, HostNet, Instant, Mac, PortId, PortSpec, Proto, RuleId, UplinkConfig};
use crate::conntrack::ConnReport;
use crate::flow::Zone;
use crate::l2::{FdbCounts, FdbReport};
use crate::nat::{InUse, NatReport, Publication, PublishError};
use crate::neigh::NeighReport;
use crate::pipeline::Engine;
use crate::port::PortQueue;
use crate::slow::ports::{AddPortError, PortReport};
use crate::slow::switch::Switch;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::Waker;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::JoinHandle;

/// How full the tables are.
#[derive(Default, Clone, Copy, Debug)]
pub struct Tables {
    /// Live connections.
    pub connections: u32,
    /// Neighbours.
    pub neighbours: usize,
    /// FDB entries.
    pub fdb: usize,
    /// What became of FDB entries since the start.
    pub fdb_counts: FdbCounts,
    /// External ports and identifiers that masquerade holds.
    pub external_ports: InUse,
}

struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    thread: JoinHandle<()>,
}

/// A switch with its worker threads. Dropping it without [`Runtime::stop`] stops it too.
pub struct Runtime {
    sw: Arc<Switch>,
    workers: Vec<Handle>,
    /// How many of them have a queue of their own of each port.
    queues: usize,
    events: Receiver<Event>,
    clock: Clock,
}

impl Runtime {
    /// Starts `workers` threads named `worker-N`. `clock` gives the time since some origin.
    ///
    /// # Errors
    /// When the system gives no thread or no epoll descriptor.
    pub fn start(cfg: Config, workers: usize, pace: &Pace, clock: Clock) -> io::Result<Runtime> {
        let queues = workers.max(1);
        let relief = pace.bulk_worker && queues == 1;
        let workers = queues + usize::from(relief);
        let sw = Arc::new(Switch::new(cfg, workers));
        let (event_tx, events) = unbounded();
        let mut runtime = Runtime {
            sw: Arc::clone(&sw),
            workers: Vec::new(),
            queues,
            events,
            clock: Arc::clone(&clock),
        };
        let mut made = Vec::with_capacity(workers);
        for n in 0..workers {
            let engine = Engine::new(Arc::clone(&sw), n, clock());
            let (commands, rx) = unbounded();
            let (worker, waker) = Worker::new(
                engine,
                pace.clone(),
                rx,
                event_tx.clone(),
                Arc::clone(&clock),
            )?;
            made.push((worker, waker, commands));
        }
        if relief && let [(first, w0, c0), (second, w1, c1)] = &mut made[..] {
            first.beside(c1.clone(), Arc::clone(w1), false);
            second.beside(c0.clone(), Arc::clone(w0), true);
        }
        for (n, (worker, waker, commands)) in made.into_iter().enumerate() {
            let thread = std::thread::Builder::new()
                .name(format!("worker-{n}"))
                .spawn(|| worker.run())?;
            runtime.workers.push(Handle {
                commands,
                waker,
                thread,
            });
        }
        Ok(runtime)
    }

    /// Number of workers, the one for bulk ([`Pace::bulk_worker`]) included.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Queues that a port is to have: one for each worker, but none for the one for bulk.
    pub fn queues(&self) -> usize {
        self.queues
    }

    /// The shared switch, for reports that this type has no method for.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.sw
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Sends each worker a command and waits until all have obeyed.
    fn tell(
        &self,
        mut command: impl FnMut(usize, Sender<io::Result<()>>) -> Command,
    ) -> io::Result<()> {
        let (done, answers) = bounded(self.workers.len());
        for (n, w) in self.workers.iter().enumerate() {
            let gone = || io::Error::other("a worker has ended");
            w.commands
                .send(command(n, done.clone()))
                .map_err(|_| gone())?;
            w.waker.wake()?;
        }
        drop(done);
        // A worker that has ended drops its sender, so this ends in any case.
        answers.iter().collect::<io::Result<Vec<()>>>().map(|_| ())
    }

    /// Adds a port with its [`Runtime::queues`], in worker order. A worker for bulk gets another end
    /// of the first one.
    ///
    /// # Errors
    /// See [`AddPortError`]; nothing was changed.
    pub fn add_port(
        &self,
        spec: PortSpec,
        queues: Vec<Box<dyn PortQueue>>,
    ) -> Result<PortId, AddPortError> {
        let other = match self.queues < self.workers.len() {
            false => None,
            true => Some(another_end(&queues)?),
        };
        let id = self.sw.add_port(spec, self.now().tick())?;
        let mut queues = queues.into_iter().take(self.queues).chain(other);
        let told = self.tell(|_, done| Command::AddPort(id, queues.next(), done));
        if let Err(e) = told {
            self.remove_port(id);
            return Err(AddPortError::Worker(e.to_string()));
        }
        Ok(id)
    }

    /// Removes a port; its queues are closed when this returns. False when there is none.
    pub fn remove_port(&self, id: PortId) -> bool {
        let known = self.sw.remove_port(id).is_some();
        // A worker that has ended has closed its queues.
        let _ = self.tell(|_, done| Command::RemovePort(id, done));
        known
    }

    /// Changes the outside and what is known of the host whose interface it shares. When this
    /// returns no worker goes by the old state any more, and the connections by an external address
    /// that is gone are no more: gives their number. What their inside ends still send is dropped
    /// under [`crate::base::Reason::AddressGone`], and they are told by a reset.
    pub fn set_uplink(&self, uplink: Option<UplinkConfig>, host: Option<Arc<HostNet>>) -> usize {
        self.sw.set_uplink(uplink, host);
        // A worker that has ended decides nothing.
        let _ = self.tell(|_, done| Command::Pass(done));
        self.sw.generation.bump_settings();
        self.sw.end_by_address(self.now().tick())
    }

    /// A neighbour outside that the host knows, as if it had just answered; a permanent one is
    /// never asked. One that the switch is asking itself is left to its own answer, which comes to
    /// both.
    pub fn neighbour_outside(&self, ip: Ipv4Addr, mac: Mac, permanent: bool) {
        let (neigh, now) = (&self.sw.neigh, self.now().tick());
        if neigh.is_pending(Zone::Uplink, ip) {
            return;
        }
        match permanent {
            true => neigh.pin(Zone::Uplink, ip, mac, now),
            false => neigh.seed(Zone::Uplink, ip, mac, now),
        };
    }

    /// Lends a shared address ports of its host, see [`crate::nat::ports::Ports::lend`]; `more` says
    /// whether there will be others when these are short. Frames that wait for a port go on.
    pub fn lend(&self, proto: Proto, ports: &[u16], in_all: u32, span: (u16, u16), more: bool) {
        let external = &self.sw.external;
        external.lend(proto, ports, in_all, span);
        external.expect_more(proto, more);
        self.sw.waiting.go();
        self.wake();
    }

    /// The host has no more ports to lend for now: what waits for one is refused.
    pub fn no_more_ports(&self, proto: Proto) {
        self.sw.no_more_ports(proto);
        self.wake();
    }

    /// Has somebody look at the frames that wait. One that is held just now looks by itself.
    fn wake(&self) {
        if self.sw.waiting.any() {
            // One that can't be woken has ended.
            self.workers.iter().for_each(|w| drop(w.waker.wake()));
        }
    }

    /// The ports with their counters.
    pub fn ports(&self) -> Vec<PortReport> {
        self.sw.port_reports()
    }

    /// Publishes a port or a range.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing was changed.
    pub fn publish(&self, p: Publication) -> Result<RuleId, PublishError> {
        self.sw.publish(p)
    }

    /// Withdraws a publication; its connections are gone when this returns.
    pub fn unpublish(&self, id: RuleId) -> Option<Publication> {
        self.sw.unpublish(id)
    }

    /// Rules and chains with their counters.
    pub fn rules(&self) -> NatReport {
        self.sw.chains.report(&self.sw.rules)
    }

    /// The forwarding database.
    pub fn fdb(&self) -> Vec<FdbReport> {
        self.sw.fdb.list(self.now().tick())
    }

    /// The neighbours.
    pub fn neighbours(&self) -> Vec<NeighReport> {
        self.sw.neigh.list(self.now().tick())
    }

    /// The connections.
    pub fn connections(&self) -> Vec<ConnReport> {
        self.sw.conntrack.list(self.now().tick())
    }

    /// All counters: their sum, and each worker's.
    pub fn totals(&self) -> (Totals, Vec<Totals>) {
        let each: Vec<Totals> = self.sw.counters.iter().map(|c| Totals::sum([c])).collect();
        (Totals::add(&each), each)
    }

    /// How full the tables are, and what became of FDB entries.
    pub fn tables(&self) -> Tables {
        Tables {
            connections: self.sw.conntrack.len(),
            neighbours: self.sw.neigh.len(),
            fdb: self.sw.fdb.len(),
            fdb_counts: self.sw.fdb.counts(),
            external_ports: self.sw.external.in_use(),
        }
    }

    /// What the workers have to tell.
    pub fn events(&self) -> Receiver<Event> {
        self.events.clone()
    }

    /// Ends the threads and closes all queues.
    pub fn stop(self) {
        drop(self);
    }
}

/// For the worker for bulk, which writes by every port.
fn another_end(queues: &[Box<dyn PortQueue>]) -> Result<Box<dyn PortQueue>, AddPortError> {
    let shared = queues.first().and_then(|q| q.share());
    shared.ok_or_else(|| AddPortError::Worker("two workers can't share its queue".to_owned()))
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for w in &self.workers {
            let _ = w.commands.send(Command::Stop);
            let _ = w.waker.wake();
        }
        for w in self.workers.drain(..) {
            let _ = w.thread.join();
        }
    }
}
