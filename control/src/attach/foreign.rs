//! A TAP in a network namespace of another user namespace.
//!
//! Nothing can be moved there, so the TAP is made inside, by a helper process that is root there:
//! `setns(2)` with a user namespace is for programs with one thread only. The helper (`switchd
//! __tap`) has a socket for its standard input: it gets the two namespaces and what to make, and
//! gives back the TAP's queues (`SCM_RIGHTS`).
//!
//! Whoever made a user namespace may enter it (user_namespaces(7)), so an ordinary user needs
//! nothing for namespaces of his own. The queues keep the network namespace alive; a process whose
//! namespace it is has to be watched, if its end is to be noticed.

use super::{AttachError, Attached, Spec, absent, configure, ipv6_off, loopback_up, probe};
use crate::netlink::{Link, Netlink, Real};
use crate::netns::{Netns, sys};
use crate::plan::Failure;
use crate::plan::spec::scalar::Offload;
use dataplane::base::Mac;
use dataplane::port::Caps;
use dataplane::port::sys::tap;
use nix::sched::{CloneFlags, setns};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, ExitCode, Stdio};

/// Most descriptors in one message (`SCM_MAX_FD` is 253).
const MOST: usize = 128;
/// Longest message.
const LONGEST: usize = 8_192;

/// What the helper is asked for.
#[derive(Serialize, Deserialize)]
struct Request {
    ifname: String,
    mac: [u8; 6],
    ip: Ipv4Addr,
    prefix: u8,
    mtu: u16,
    gateway: Option<Ipv4Addr>,
    ipv6: bool,
    txqlen: u32,
    queues: usize,
    /// csum, tso, uso, big.
    offload: [bool; 4],
    /// Whether they are to be tried first.
    probe: bool,
    /// What the person called the namespace.
    label: String,
}

/// What it made, or why it could not.
#[derive(Serialize, Deserialize)]
enum Answer {
    Made {
        /// csum, tso4, tso6, uso, big.
        caps: [bool; 5],
        index: u32,
        mac: [u8; 6],
        mtu: u32,
        notes: Vec<String>,
    },
    Failed(String),
}

/// The user namespace that owns `netns`, if it is one below ours.
pub fn owner(netns: &Netns) -> Option<OwnedFd> {
    let id = |meta: io::Result<std::fs::Metadata>| meta.ok().map(|m| (m.dev(), m.ino()));
    let file = File::from(sys::owner(netns.as_fd()).ok()?);
    let own = id(std::fs::metadata("/proc/self/ns/user"))?;
    (id(file.metadata())? != own).then(|| file.into())
}

/// As [`super::attach`], for a namespace that `owner` owns.
///
/// # Errors
/// The helper's sentence.
pub fn attach(
    spec: &Spec,
    netns: &Netns,
    owner: &OwnedFd,
    probe: bool,
) -> Result<Attached, AttachError> {
    let failed = |why: String| AttachError::Foreign {
        netns: netns.label().to_owned(),
        why,
    };
    let o = spec.offload.wanted();
    let request = Request {
        ifname: spec.ifname.clone(),
        mac: spec.mac.0,
        ip: spec.ip,
        prefix: spec.prefix,
        mtu: spec.mtu,
        gateway: spec.gateway,
        ipv6: spec.ipv6,
        txqlen: spec.txqlen,
        queues: spec.queues.min(MOST),
        offload: [o.csum, o.tso, o.uso, o.big],
        probe,
        label: netns.label().to_owned(),
    };
    let (answer, fds) =
        ask(&request, [owner.as_fd(), netns.as_fd()]).map_err(|e| failed(e.to_string()))?;
    match answer {
        Answer::Failed(why) => Err(failed(why)),
        Answer::Made {
            caps: [csum, tso4, tso6, uso, big],
            index,
            mac,
            mtu,
            notes,
        } => {
            for note in notes {
                tracing::info!("{note}");
            }
            let caps = Caps {
                csum,
                tso4,
                tso6,
                uso,
                big,
            };
            Ok(Attached {
                queues: tap::adopt(fds, caps, Mac(mac)),
                caps,
                netns: netns.id(),
                link: Link {
                    index,
                    name: spec.ifname.clone(),
                    mac: Mac(mac),
                    mtu,
                    txqlen: spec.txqlen,
                    up: true,
                    running: true,
                    ..Link::default()
                },
            })
        }
    }
}

/// Starts the helper, and hears what came of it.
fn ask(request: &Request, fds: [BorrowedFd<'_>; 2]) -> io::Result<(Answer, Vec<OwnedFd>)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let mut child = Command::new("/proc/self/exe")
        .arg("__tap")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    let heard = send(&ours, request, &fds).and_then(|()| receive(&ours));
    let status = child.wait()?;
    heard.map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other(format!("the helper ended: {status}")),
        _ => e,
    })
}

fn send<T: Serialize>(socket: &OwnedFd, what: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(what)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(fds));
    sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn receive<T: for<'a> Deserialize<'a>>(socket: impl AsFd) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let what = serde_json::from_slice(bytes.get(..got.bytes).unwrap_or(&[]))?;
    Ok((what, fds))
}

/// The helper: `switchd __tap`.
pub fn helper() -> ExitCode {
    let stdin = io::stdin();
    let Ok((request, fds)) = receive::<Request>(&stdin) else {
        return Failure::usage("this part is started by switchd itself only").report("switchd");
    };
    let (answer, made) = match make(&request, &fds) {
        Ok((answer, made)) => (answer, Some(made)),
        Err(why) => (Answer::Failed(why), None),
    };
    let queues = made.as_ref().map_or(&[][..], |m| &m.queues);
    let fds: Vec<BorrowedFd<'_>> = queues.iter().map(AsFd::as_fd).collect();
    let Ok(socket) = stdin.as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    match send(&socket, &answer, &fds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Enters the namespaces and makes the interface there.
fn make(r: &Request, fds: &[OwnedFd]) -> Result<(Answer, tap::TapDevice), String> {
    let say = |e: &dyn std::fmt::Display| e.to_string();
    let [user, net] = fds else {
        return Err("the namespaces are missing".to_owned());
    };
    setns(user, CloneFlags::CLONE_NEWUSER)
        .map_err(|e| format!("its user namespace can't be entered: {e}"))?;
    let [csum, tso, uso, big] = r.offload;
    let mut offload = tap::Offload {
        csum,
        tso,
        uso,
        big,
    };
    let mut notes = Vec::new();
    if r.probe && csum {
        let found = probe::probe(offload);
        (offload, notes) = (found.offload, found.notes);
    }
    setns(net, CloneFlags::CLONE_NEWNET)
        .map_err(|e| format!("its network namespace can't be entered: {e}"))?;
    let netns = Netns::current().map_err(|e| say(&e))?;
    let mut nl = Real::new().map_err(|e| say(&e))?;
    let spec = Spec {
        ifname: r.ifname.clone(),
        mac: Mac(r.mac),
        ip: r.ip,
        prefix: r.prefix,
        mtu: r.mtu,
        gateway: r.gateway,
        ipv6: r.ipv6,
        txqlen: r.txqlen,
        queues: r.queues,
        offload: Offload::Auto,
    };
    let failed = |source| AttachError::Netlink {
        ifname: spec.ifname.clone(),
        netns: r.label.clone(),
        source,
    };
    super::refuse_what_is_taken(&mut nl, &spec, &r.label, &failed).map_err(|e| say(&e))?;
    let made = tap::create(&spec.ifname, spec.queues, offload).map_err(|e| say(&e))?;
    let link = nl.link(&spec.ifname).map_err(|e| say(&e))?;
    let index = link.ok_or_else(|| say(&absent(&spec.ifname)))?.index;
    if !spec.ipv6 {
        ipv6_off(&mut nl, &netns, &spec.ifname, index).map_err(|e| say(&e))?;
    }
    configure(&mut nl, &spec, index).map_err(|e| say(&e))?;
    loopback_up(&mut nl).map_err(|e| say(&e))?;
    let c = made.caps;
    let answer = Answer::Made {
        caps: [c.csum, c.tso4, c.tso6, c.uso, c.big],
        index,
        mac: r.mac,
        mtu: u32::from(r.mtu),
        notes,
    };
    Ok((answer, made))
}
