//! The zero-work patch: two TAPs made as switchd makes them, and one thread that reads the one and
//! writes the other. What it costs is what the kernel asks of any switch over TAPs; the rest of
//! switchd's cost is its own.

use super::links::{address, index, up};
use super::{C1, C2, Hosts, Net, Way};
use crate::Result;
use control::attach::TXQLEN;
use control::netlink::{LinkChange, Netlink, Real};
use control::netns::Netns;
use dataplane::base::Mac;
use dataplane::port::sys::tap::{self, Offload, TapQueue};
use dataplane::worker::wait::SPIN;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, write};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The longest frame with its `virtio_net_hdr`, and some.
const ROOM: usize = 66_000;
/// What its process prints when it carries traffic.
const UP: &str = "up";

/// Two containers and the patch between them.
#[derive(Debug)]
pub struct PatchNet {
    hosts: Hosts,
    process: Child,
}

impl PatchNet {
    /// Makes the hosts and starts `program`, a command that calls [`serve_patch`] with the words
    /// that follow.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn build(program: &[OsString]) -> Result<PatchNet> {
        let hosts = Hosts::create()?;
        let (first, rest) = program.split_first().ok_or("no program for the patch")?;
        let process = Command::new(first)
            .args(rest)
            .args([hosts.c1.proc_path(), hosts.c2.proc_path()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut net = PatchNet { hosts, process };
        let out = net.process.stdout.take().ok_or("the patch has no stdout")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        match line.trim() == UP {
            true => Ok(net),
            false => Err(format!("the patch ended: {}", net.process.wait()?).into()),
        }
    }
}

impl Net for PatchNet {
    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn lacks(&self, way: Way) -> Option<&'static str> {
        (way != Way::L2).then_some("the patch joins two containers and nothing else")
    }

    fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    /// It ends at the first frame that it can't pass on, so it has lost none while it runs.
    fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the patch ended: {status}").into()),
        }
    }
}

impl Drop for PatchNet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Is the patch between the containers' namespaces at two paths, until it is killed.
///
/// # Errors
/// When it can't be set up, and when a frame can't be passed on.
pub fn serve_patch(paths: &[OsString]) -> Result<()> {
    let [c1, c2] = paths else {
        return Err("the patch wants the paths of two namespaces".into());
    };
    // Whoever measures may be killed.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let (a, b) = (plug(Path::new(c1), C1)?, plug(Path::new(c2), C2)?);
    println!("{UP}");
    carry(&a, &b)
}

/// A TAP that is `eth0` in the namespace at `path`: offloads, MTU and queue length are switchd's.
fn plug(path: &Path, ip: Ipv4Addr) -> Result<TapQueue> {
    let netns = Netns::open_path(path)?;
    let made = tap::create("patch%d", 1, Offload::AUTO)?;
    let mut here = Real::new()?;
    let at = index(&mut here, &made.name)?;
    let change = LinkChange {
        netns: Some(netns.as_fd()),
        name: Some("eth0"),
        ..LinkChange::default()
    };
    here.change_link(at, &change)?;
    let mut there = Real::inside(&netns)?;
    let at = index(&mut there, "eth0")?;
    let change = LinkChange {
        mac: Some(Mac::from_ip(ip)),
        mtu: Some(1500),
        txqlen: Some(TXQLEN),
        ..LinkChange::default()
    };
    there.change_link(at, &change)?;
    there.no_queue(at)?;
    address(&mut there, at, ip)?;
    up(&mut there, at)?;
    let queue = made.queues.into_iter().next();
    Ok(queue.ok_or("a TAP without a queue")?)
}

fn carry(a: &TapQueue, b: &TapQueue) -> Result<()> {
    let mut buf = vec![0; ROOM];
    let mut last = Instant::now();
    loop {
        let moved = one(a, b, &mut buf)? | one(b, a, &mut buf)?;
        if moved {
            last = Instant::now();
        } else if last.elapsed() >= SPIN {
            let mut fds = [PollFd::new(a, PollFlags::IN), PollFd::new(b, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            last = Instant::now();
        }
    }
}

/// Moves a frame, `virtio_net_hdr` and all, if one waits.
fn one(from: &TapQueue, to: &TapQueue, buf: &mut [u8]) -> Result<bool> {
    let n = match read(from, &mut *buf) {
        Ok(n) => n,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
        Err(e) => return Err(format!("reading a frame: {e}").into()),
    };
    match write(to, buf.get(..n).unwrap_or(&[])) {
        Ok(_) => Ok(true),
        Err(e) => Err(format!("writing a frame of {n} bytes: {e}").into()),
    }
}
