//! What connects the stacks while they are recorded, in the place where the switch will be: it
//! bridges the inside, answers ARP for the addresses that are the switch's, and translates
//! addresses one to one between `web` and the outside. It keeps no state about connections and
//! shares no code with the switch, so the recorded stacks behave as behind any such box.

use super::file::Record;
use super::nat;
use dataplane::base::Mac;
use dataplane::frame::{Batch, VnetHdr};
use dataplane::port::PortQueue;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub const DB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The port of `web` that is published, under the same number.
pub const PUBLISHED: u16 = 5000;

/// What is done with a frame that came in. It is recorded in any case: the switch sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// Goes on.
    Pass,
    /// Is lost behind the switch.
    Lose,
    /// Changes places with the next frame of its port.
    Swap,
}

type GateFn = Box<dyn FnMut(&'static str, &[u8]) -> Gate + Send>;

struct Shared {
    records: Vec<Record>,
    gate: GateFn,
}

/// The wire, running.
pub struct Wire {
    shared: Arc<Mutex<Shared>>,
    hold: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    start: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Connects the queues. `vid`: frames are recorded with this VLAN tag put on, and lose it
    /// again before they are delivered.
    pub fn start(queues: Vec<(&'static str, Box<dyn PortQueue>)>, vid: Option<u16>) -> Wire {
        let shared = Arc::new(Mutex::new(Shared {
            records: Vec::new(),
            gate: Box::new(|_, _| Gate::Pass),
        }));
        let (hold, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let start = Instant::now();
        let mut run = Run {
            queues,
            shared: Arc::clone(&shared),
            start,
            vid,
            swapped: None,
            hairpin: None,
            asked: HashMap::new(),
            known: HashMap::new(),
        };
        let (h, s) = (Arc::clone(&hold), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !s.load(SeqCst) {
                match h.load(SeqCst) {
                    true => std::thread::sleep(Duration::from_millis(1)),
                    false => run.round(),
                }
            }
        });
        Wire {
            shared,
            hold,
            stop,
            start,
            thread: Some(thread),
        }
    }

    /// From now on frames are judged by `gate`.
    pub fn gate(&self, gate: impl FnMut(&'static str, &[u8]) -> Gate + Send + 'static) {
        self.shared.lock().unwrap().gate = Box::new(gate);
    }

    /// Lets frames pile up in the devices while `f` runs.
    pub fn held<T>(&self, f: impl FnOnce() -> T) -> T {
        self.hold.store(true, SeqCst);
        std::thread::sleep(Duration::from_millis(250));
        let t = f();
        std::thread::sleep(Duration::from_millis(30));
        self.hold.store(false, SeqCst);
        t
    }

    /// Records a frame made by hand as if it had come in by `port` now. It is delivered nowhere.
    pub fn by_hand(&self, port: &'static str, bytes: Vec<u8>, vnet: VnetHdr, note: &str) {
        self.by_hand_raw(port, bytes, vnet.encode(), note);
    }

    /// The same with a header that need not be one.
    pub fn by_hand_raw(&self, port: &'static str, bytes: Vec<u8>, vnet: [u8; 10], note: &str) {
        let at = self.start.elapsed();
        let note = Some(note.to_owned());
        self.shared.lock().unwrap().records.push(Record {
            at,
            port,
            bytes,
            vnet,
            note,
        });
    }

    /// The frames so far.
    pub fn records(&self) -> Vec<Record> {
        self.shared.lock().unwrap().records.clone()
    }

    /// Changes what was recorded.
    pub fn edit(&self, f: impl FnOnce(&mut Vec<Record>)) {
        f(&mut self.shared.lock().unwrap().records);
    }

    /// Ends the wire and gives what was recorded.
    pub fn finish(mut self) -> Vec<Record> {
        self.end();
        self.records()
    }

    fn end(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(t) = self.thread.take() {
            t.join().unwrap();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end();
    }
}

struct Run {
    queues: Vec<(&'static str, Box<dyn PortQueue>)>,
    shared: Arc<Mutex<Shared>>,
    start: Instant,
    vid: Option<u16>,
    swapped: Option<(Record, VnetHdr)>,
    /// The container that last used the published port by the external address.
    hairpin: Option<Ipv4Addr>,
    asked: HashMap<Ipv4Addr, Vec<(Vec<u8>, VnetHdr)>>,
    known: HashMap<Ipv4Addr, Mac>,
}

impl Run {
    fn round(&mut self) {
        let ready: Vec<bool> = {
            let mut fds: Vec<PollFd<'_>> = self
                .queues
                .iter()
                .map(|(_, q)| {
                    // SAFETY: the queue lives in `self` and outlives `fds`.
                    let fd = unsafe { BorrowedFd::borrow_raw(q.poll_fd().unwrap()) };
                    PollFd::new(fd, PollFlags::POLLIN)
                })
                .collect();
            if poll(&mut fds, PollTimeout::from(5u8)).is_err() {
                return;
            }
            fds.iter().map(|f| f.any().unwrap_or(false)).collect()
        };
        let mut batch = Batch::default();
        for (i, ready) in ready.into_iter().enumerate() {
            if !ready {
                continue;
            }
            batch.clear();
            let port = self.queues[i].0;
            if self.queues[i].1.recv(&mut batch, usize::MAX).is_err() {
                continue;
            }
            for f in batch.frames() {
                self.arrived(port, f.bytes().to_vec(), f.hdr);
            }
        }
    }

    fn arrived(&mut self, port: &'static str, bytes: Vec<u8>, hdr: VnetHdr) {
        let at = self.start.elapsed();
        let (mut seen, mut vnet) = (bytes.clone(), hdr);
        if let Some(vid) = self.vid {
            let [hi, lo] = vid.to_be_bytes();
            seen.splice(12..12, [0x81, 0x00, hi, lo]);
            if vnet.needs_csum {
                vnet.csum_start += 4;
            }
            if vnet.hdr_len > 0 {
                vnet.hdr_len += 4;
            }
        }
        let record = Record {
            at,
            port,
            bytes: seen,
            vnet: vnet.encode(),
            note: None,
        };
        let mut todo = Vec::new();
        {
            let mut s = self.shared.lock().unwrap();
            match (s.gate)(port, &bytes) {
                Gate::Pass => {
                    s.records.push(record);
                    todo.push((bytes, hdr));
                    if let Some((mut late, h)) = self.swapped.take_if(|(r, _)| r.port == port) {
                        late.at = at;
                        todo.push((late.bytes.clone(), h));
                        s.records.push(late);
                    }
                }
                Gate::Lose => s.records.push(record),
                Gate::Swap => self.swapped = Some((record, hdr)),
            }
        }
        for (bytes, hdr) in todo {
            self.forward(port, bytes, hdr);
        }
    }

    fn send(&mut self, port: &str, bytes: &[u8], hdr: VnetHdr) {
        if let Some((_, q)) = self.queues.iter_mut().find(|(n, _)| *n == port) {
            // A full or missing device loses the frame, as a wire may.
            let _ = q.send(&hdr, &[IoSlice::new(bytes)]);
        }
    }

    fn forward(&mut self, from: &'static str, bytes: Vec<u8>, hdr: VnetHdr) {
        if bytes.len() < 34 {
            return;
        }
        let ethertype = u16::from_be_bytes([bytes[12], bytes[13]]);
        if ethertype == 0x0806 && self.arp(from, &bytes) {
            return;
        }
        if from == "uplink" {
            if ethertype == 0x0800 && nat::address(&bytes[14..], 16) == UPLINK {
                self.inwards(bytes, hdr);
            }
            return;
        }
        let to = Mac([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
        if to == Mac::from_ip(GATEWAY) && ethertype == 0x0800 {
            let dst = nat::address(&bytes[14..], 16);
            if dst != GATEWAY {
                self.route(bytes, hdr, dst);
                return;
            }
            // The switch answers echo for the gateway itself.
            if bytes[23] == 1 {
                return;
            }
        }
        for (port, ip) in [("web", WEB), ("db", DB), ("sw0", GATEWAY)] {
            if port != from && (to.is_group() || to == Mac::from_ip(ip)) {
                self.send(port, &bytes, hdr);
            }
        }
    }

    /// Answers for the switch's addresses, and takes answers to its own questions.
    fn arp(&mut self, from: &'static str, b: &[u8]) -> bool {
        let (op, sender, target) = (b[21], nat::address(b, 28), nat::address(b, 38));
        let sender_mac = Mac([b[22], b[23], b[24], b[25], b[26], b[27]]);
        if op == 1
            && (target == GATEWAY && from != "uplink" || target == UPLINK && from == "uplink")
        {
            if from == "uplink" {
                self.known.insert(sender, sender_mac);
            }
            let answer = super::packet::arp(2, Mac::from_ip(target), target, sender_mac, sender);
            self.send(from, &answer, VnetHdr::PLAIN);
            return true;
        }
        if from != "uplink" {
            return false;
        }
        if op == 2 {
            self.known.insert(sender, sender_mac);
            for (mut frame, hdr) in self.asked.remove(&sender).unwrap_or_default() {
                frame[..6].copy_from_slice(&sender_mac.0);
                self.send("uplink", &frame, hdr);
            }
        }
        true
    }

    /// From outside to the published container.
    fn inwards(&mut self, mut b: Vec<u8>, hdr: VnetHdr) {
        b[..6].copy_from_slice(&Mac::from_ip(WEB).0);
        b[6..12].copy_from_slice(&Mac::from_ip(GATEWAY).0);
        let ip = &mut b[14..];
        nat::hop(ip);
        nat::replace_inner(ip, 12, WEB);
        nat::replace(ip, 16, WEB, hdr.needs_csum);
        self.send("web", &b, hdr);
    }

    /// From a container, to the gateway's MAC.
    fn route(&mut self, mut b: Vec<u8>, hdr: VnetHdr, dst: Ipv4Addr) {
        let ip = &mut b[14..];
        if ip[8] <= 1 {
            return;
        }
        nat::hop(ip);
        let src = nat::address(ip, 12);
        if dst == UPLINK {
            let request = u16::from_be_bytes([ip[22], ip[23]]) == PUBLISHED;
            let to = if request {
                self.hairpin = Some(src);
                WEB
            } else {
                let Some(client) = self.hairpin else { return };
                client
            };
            nat::replace(ip, 12, UPLINK, hdr.needs_csum);
            nat::replace(ip, 16, to, hdr.needs_csum);
            b[..6].copy_from_slice(&Mac::from_ip(to).0);
            b[6..12].copy_from_slice(&Mac::from_ip(GATEWAY).0);
            self.send(if to == WEB { "web" } else { "db" }, &b, hdr);
            return;
        }
        nat::replace_inner(ip, 16, UPLINK);
        nat::replace(ip, 12, UPLINK, hdr.needs_csum);
        b[6..12].copy_from_slice(&Mac::from_ip(UPLINK).0);
        let on_link = dst.octets()[..3] == UPLINK.octets()[..3];
        let hop = if on_link { dst } else { OUTSIDE };
        let mac = match self.known.get(&hop) {
            Some(mac) => *mac,
            None => {
                self.asked.entry(hop).or_default().push((b, hdr));
                let ask = super::packet::arp(1, Mac::from_ip(UPLINK), UPLINK, Mac::ZERO, hop);
                self.send("uplink", &ask, VnetHdr::PLAIN);
                return;
            }
        };
        b[..6].copy_from_slice(&mac.0);
        self.send("uplink", &b, hdr);
    }
}
