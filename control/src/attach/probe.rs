//! The self-test of the offloads: real TCP and UDP between two TAPs in namespaces of their own.
//!
//! That a kernel takes an offload's bit says little: some answer EINVAL to a superframe that
//! others take, and some deliver it damaged (6.17 and 7.0 were reported for UDP). So before the
//! first interface is made, a stream and some segmented datagrams go from one kernel stack to
//! another as they will later go through the switch, and every byte is compared. What fails is
//! left out. It takes some tens of milliseconds.
//!
//! The stream goes by the switch's own last stage, so that superframes are joined to those beyond
//! 64 KiB ([`tap::Offload::big`]) where they are wanted. Until one was seen, frames are left to gather.

use super::{Spec, TXQLEN, attach};
use crate::netns::Netns;
use crate::plan::spec::scalar::Offload;
use dataplane::base::{Instant, Mac, PortId};
use dataplane::frame::{Batch, Gso};
use dataplane::port::PortQueue;
use dataplane::port::coalesce::MAX_BIG;
use dataplane::port::egress::{Egress, Written};
use dataplane::port::segment::MAX_HEADERS;
use dataplane::port::sys::tap;
use dataplane::worker::wait::Wait;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Addresses of the two ends (TEST-NET-1, RFC 5737: nobody else's).
const LEFT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// How long one step may take; on a loaded machine it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of the TCP stream: enough for a congestion window of several superframes.
const STREAM: usize = 1 << 20;
/// The receiver's buffer, so that it offers several superframes' bytes from the start; the system may
/// give less (`net.core.rmem_max`).
const WINDOW: usize = 1 << 20;
/// Payload of each datagram, and of the superframe that carries eleven.
const DATAGRAM: usize = 1_000;
const DATAGRAMS: usize = 10 * DATAGRAM + 500;
/// How long frames gather, so that a superframe follows another.
const GATHER: Duration = Duration::from_millis(1);

/// What the self-test found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    /// What works of what was wanted.
    pub offload: tap::Offload,
    /// One line for the log on each offload that was left out, or why nothing was tested.
    pub notes: Vec<String>,
}

/// Tests `wanted`. Where namespaces can't be made (no CAP_SYS_ADMIN) or the test itself can't be
/// set up, `wanted` stays as it is: a superframe that is refused later is segmented then.
pub fn probe(wanted: tap::Offload) -> Findings {
    judge(wanted, &trial)
}

/// How the two kinds of traffic fared, superframes of each kind that were seen.
struct Trial {
    tcp: io::Result<()>,
    udp: io::Result<()>,
    supers: Supers,
}

#[derive(Default, Clone, Copy)]
struct Supers {
    tcp: u32,
    udp: u32,
    /// Beyond 64 KiB, as they were written.
    big: u32,
}

impl Trial {
    /// Whether something did not come in time, or too slowly to be joined, which a machine that stood
    /// still does too.
    fn late(&self, offload: tap::Offload) -> bool {
        let late = |r: &io::Result<()>| {
            let kind = r.as_ref().err().map(io::Error::kind);
            matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
        };
        late(&self.tcp) || late(&self.udp) || (offload.big && self.supers.big == 0)
    }
}

/// From trials to findings: without what is beyond 64 KiB when the stream fails with it or none was
/// seen, without TSO and USO when it fails, without USO when the datagrams do, with nothing when
/// partial checksums alone fail too. What is only late gets a second trial, and where plain frames
/// fail as well the offloads are not to blame.
fn judge(wanted: tap::Offload, trial: &dyn Fn(tap::Offload) -> Result<Trial, String>) -> Findings {
    let mut offload = wanted;
    let mut notes = Vec::new();
    loop {
        if !offload.csum {
            offload = tap::Offload::NONE;
            break;
        }
        let t = match trial(offload) {
            Ok(t) if t.late(offload) => trial(offload),
            other => other,
        };
        let t = match t {
            Ok(t) => t,
            Err(why) => {
                notes.push(format!("the offloads were not tested: {why}"));
                break;
            }
        };
        tracing::debug!(
            "offload self-test with {offload:?}: {} TCP and {} UDP superframes, {} beyond 64 KiB",
            t.supers.tcp,
            t.supers.udp,
            t.supers.big
        );
        match (t.tcp, t.udp) {
            (Err(e), _) if offload.big => {
                notes.push(format!(
                    "TCP superframes beyond 64 KiB fail here ({e}): left out"
                ));
                offload.big = false;
            }
            (Ok(()), Ok(())) if offload.big && t.supers.big == 0 => {
                notes.push(
                    "TCP superframes beyond 64 KiB don't pass here (they need Linux 6.3): left out"
                        .to_owned(),
                );
                offload.big = false;
            }
            (Ok(()), Ok(())) => break,
            (Ok(()), Err(e)) if offload.uso => {
                notes.push(format!("UDP superframes fail here ({e}): left out"));
                offload.uso = false;
            }
            (Err(e), _) | (_, Err(e)) if offload.tso || offload.uso => {
                notes.push(format!("superframes fail here ({e}): left out"));
                offload.tso = false;
                offload.uso = false;
                offload.big = false;
            }
            (Err(e), _) | (_, Err(e)) => match trial(tap::Offload::NONE) {
                Ok(Trial {
                    tcp: Ok(()),
                    udp: Ok(()),
                    ..
                }) => {
                    notes.push(format!("partial checksums fail here ({e}): left out"));
                    offload.csum = false;
                }
                _ => {
                    offload = wanted;
                    notes = vec![format!(
                        "the offloads were not tested: plain frames fail too ({e})"
                    )];
                    break;
                }
            },
        }
    }
    Findings { offload, notes }
}

/// Two namespaces, a TAP in each, and a thread that carries frames between them.
fn trial(offload: tap::Offload) -> Result<Trial, String> {
    let say = |e: &dyn std::fmt::Display| e.to_string();
    let left = Netns::create().map_err(|e| say(&e))?;
    let right = Netns::create().map_err(|e| say(&e))?;
    let make = |netns: &Netns, ip| {
        let made = netns.run(|| attach(&end(ip, offload), netns));
        made.map_err(|e| say(&e))?.map_err(|e| say(&e))
    };
    let (a, b) = (make(&left, LEFT)?, make(&right, RIGHT)?);
    let (mut a, mut b) = (a.queues, b.queues);
    let (Some(a), Some(b)) = (a.pop(), b.pop()) else {
        return Err("a TAP without a queue".to_owned());
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let carrier = s.spawn(|| carry([a, b], &stop));
        let tcp = stream(&left, &right);
        let udp = datagrams(&left, &right, offload.uso);
        stop.store(true, Ordering::Relaxed);
        let supers = match carrier.join() {
            Ok(r) => r.map_err(|e| say(&e))?,
            Err(_) => return Err("the thread between the two TAPs panicked".to_owned()),
        };
        Ok(Trial { tcp, udp, supers })
    })
}

fn end(ip: Ipv4Addr, offload: tap::Offload) -> Spec {
    Spec {
        ifname: "probe".to_owned(),
        mac: Mac::from_ip(ip),
        ip,
        prefix: 24,
        mtu: 1500,
        gateway: None,
        ipv6: false,
        txqlen: TXQLEN,
        queues: 1,
        offload: Offload::Only(offload),
    }
}

/// Every frame to the other side, until told to stop. A frame that is refused is lost, and the
/// bytes in it missed by whoever waits for them.
fn carry(mut queues: [Box<dyn PortQueue>; 2], stop: &AtomicBool) -> io::Result<Supers> {
    let (mut wait, _waker) = Wait::new(Duration::ZERO)?;
    for (port, q) in (0u16..).zip(&queues) {
        wait.add_queue(PortId(port), &**q)?;
    }
    let mut supers = Supers::default();
    let mut batch = Batch::default();
    batch.join_supers(true);
    let mut egress = Egress::default();
    let brief = Instant::ZERO + Duration::from_millis(2);
    while !stop.load(Ordering::Relaxed) {
        wait.turn(Instant::ZERO, Some(brief))?;
        while let Some(lane) = wait.next_ready() {
            let [a, b] = &mut queues;
            let (from, to) = if lane.port == PortId(0) {
                (a, b)
            } else {
                (b, a)
            };
            batch.clear();
            if to.caps().big && supers.big == 0 {
                std::thread::sleep(GATHER);
            }
            match from.recv_lane(lane.lane, &mut batch, MAX_BIG) {
                Ok(true) => wait.again(lane, batch.bytes()),
                Ok(false) => {}
                Err(e) => return Err(io::Error::other(e)),
            }
            for f in batch.frames() {
                match f.hdr.gso {
                    Gso::None => {}
                    Gso::TcpV4 | Gso::TcpV6 => supers.tcp += 1,
                    Gso::UdpL4 => supers.udp += 1,
                }
            }
            // The test's other end notices what is missing.
            let frame = |i: usize| &batch.frames()[i];
            egress.write(&mut **to, batch.len(), frame, |w| {
                supers.big += u32::from(is_big(&w));
            });
        }
    }
    Ok(supers)
}

/// Whether a write had more bytes than an IP packet's length can say.
const fn is_big(w: &Written) -> bool {
    let headers = w.frames * MAX_HEADERS as u64;
    w.frames > 1 && w.bytes > headers + u16::MAX as u64
}

/// The byte at a position: no period that a lost or doubled segment could hide in.
fn pattern(at: usize) -> u8 {
    let x = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x >> 56) as u8
}

/// Runs `f` in a namespace; a failure to get there is an I/O error like the others.
fn inside<T: Send>(ns: &Netns, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    ns.run(f).map_err(io::Error::other)?
}

/// A TCP stream from left to right, compared.
fn stream(left: &Netns, right: &Netns) -> io::Result<()> {
    let listener = inside(right, || TcpListener::bind((RIGHT, 0)))?;
    setsockopt(&listener, sockopt::RcvBuf, &WINDOW)?;
    let to = listener.local_addr()?;
    let mut from = inside(left, || TcpStream::connect_timeout(&to, PATIENCE))?;
    let (mut arrived, _) = listener.accept()?;
    from.set_write_timeout(Some(PATIENCE))?;
    arrived.set_read_timeout(Some(PATIENCE))?;
    let sender = std::thread::Builder::new().spawn(move || {
        let data: Vec<u8> = (0..STREAM).map(pattern).collect();
        from.write_all(&data)?;
        from.shutdown(Shutdown::Write)
    })?;
    let mut got = Vec::with_capacity(STREAM);
    let read = arrived.read_to_end(&mut got);
    // Ends a sender that would go on writing to nobody.
    drop(arrived);
    let sent = sender.join();
    read.map_err(|e| io::Error::new(e.kind(), format!("TCP stopped: {e}")))?;
    match sent {
        Ok(r) => r?,
        Err(_) => return Err(io::Error::other("the sender panicked")),
    }
    let whole = got.len() == STREAM && got.iter().enumerate().all(|(i, &b)| b == pattern(i));
    match whole {
        true => Ok(()),
        false => Err(io::Error::other("TCP delivered other bytes than were sent")),
    }
}

/// Datagrams from left to right, handed to the kernel as one segmented send where `segmented`.
fn datagrams(left: &Netns, right: &Netns, segmented: bool) -> io::Result<()> {
    let to = inside(right, || UdpSocket::bind((RIGHT, 0)))?;
    let from = inside(left, || UdpSocket::bind((LEFT, 0)))?;
    to.set_read_timeout(Some(PATIENCE))?;
    let addr: SocketAddr = to.local_addr()?;
    let data: Vec<u8> = (0..DATAGRAMS).map(pattern).collect();
    if segmented {
        setsockopt(&from, sockopt::UdpGsoSegment, &(DATAGRAM as i32))?;
        from.send_to(&data, addr)?;
    } else {
        for d in data.chunks(DATAGRAM) {
            from.send_to(d, addr)?;
        }
    }
    let mut buf = [0; 2 * DATAGRAM];
    for sent in data.chunks(DATAGRAM) {
        let n = to
            .recv(&mut buf)
            .map_err(|e| io::Error::new(e.kind(), format!("UDP was lost: {e}")))?;
        if buf.get(..n) != Some(sent) {
            return Err(io::Error::other("UDP delivered other bytes than were sent"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
