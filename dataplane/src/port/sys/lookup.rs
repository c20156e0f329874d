//! Any number of ports that the kernel keeps quiet about, at a constant cost: an `sk_lookup`
//! program (Documentation/bpf/prog_sk_lookup.rst, Linux 5.9; by interface since 5.17) hands what
//! comes in for them by one interface to a socket that hears nothing.
//!
//! It is asked only where a listener would be looked for, so connections of the host by the same
//! port go on, and it reserves nothing: a program of the host can still be given such a port, and
//! then hears nothing by that interface. Needs CAP_BPF and CAP_NET_ADMIN in the initial user
//! namespace.

use super::bpf::{Attributes, Insn, bpf, insn, load, made};
use super::filter;
use crate::base::Proto;
use crate::port::filter::nothing;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

// linux/bpf.h
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const LINK_CREATE: libc::c_int = 28;
const ARRAY: u32 = 2;
const SOCKMAP: u32 = 15;
const SK_LOOKUP_PROGRAM: u32 = 30;
const SK_LOOKUP_ATTACH: u32 = 36;
const LOOKUP_ELEMENT: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;
/// Offsets in `struct bpf_sk_lookup`.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const LOCAL_PORT: i16 = 60;
const INGRESS: i16 = 64;

/// Words of 64 ports for one protocol.
const WORDS: u32 = 1_024;

fn map(kind: u32, value: u32, entries: u32) -> io::Result<OwnedFd> {
    let small = [(0, kind), (4, 4), (8, value), (12, entries)];
    made(MAP_CREATE, &Attributes::new(&small, &[]))
}

fn update(map: &OwnedFd, key: u32, value: u64) -> io::Result<()> {
    let pointers = [
        (8, std::ptr::from_ref(&key).expose_provenance() as u64),
        (16, std::ptr::from_ref(&value).expose_provenance() as u64),
    ];
    let small = [(0, map.as_raw_fd().cast_unsigned())];
    bpf(MAP_UPDATE, &Attributes::new(&small, &pointers)).map(drop)
}

/// The program for the interface `index`.
fn program(index: i32, ports: &OwnedFd, sockets: &OwnedFd) -> Vec<Insn> {
    let field = |dst, offset| insn(0x61, dst, 6, offset, 0);
    let copy = |dst, src| insn(0xbf, dst, src, 0, 0);
    let set = |dst, v| insn(0xb7, dst, 0, 0, v);
    let call = |helper| insn(0x85, 0, 0, 0, helper);
    let shift_right = |dst, v| insn(0x77, dst, 0, 0, v);
    let unless_equal = |dst, v, to| insn(0x55, dst, 0, to, v);
    let if_equal = |dst, v, to| insn(0x15, dst, 0, to, v);
    // A map is named by a load of two instructions.
    let map = |fd: &OwnedFd| [insn(0x18, 1, 1, 0, fd.as_raw_fd()), insn(0, 0, 0, 0, 0)];
    let key = [copy(2, 10), insn(0x07, 2, 0, 0, -4)];
    let mut p = vec![
        copy(6, 1),
        field(2, INGRESS),
        unless_equal(2, index, 0),
        field(2, FAMILY),
        unless_equal(2, libc::AF_INET, 0),
        // Which half of the table, and which socket.
        set(7, 0),
        field(2, PROTOCOL),
        if_equal(2, libc::IPPROTO_TCP, 2),
        set(7, 1),
        unless_equal(2, libc::IPPROTO_UDP, 0),
        field(8, LOCAL_PORT),
        copy(2, 8),
        shift_right(2, 6),
        copy(3, 7),
        insn(0x67, 3, 0, 0, 10),
        insn(0x0f, 2, 3, 0, 0),
        insn(0x63, 10, 2, -4, 0),
    ];
    p.extend(map(ports));
    p.extend(key);
    p.extend([
        call(LOOKUP_ELEMENT),
        if_equal(0, 0, 0),
        // The port's bit.
        insn(0x79, 1, 0, 0, 0),
        insn(0x57, 8, 0, 0, 63),
        insn(0x7f, 1, 8, 0, 0),
        insn(0x57, 1, 0, 0, 1),
        if_equal(1, 0, 0),
        insn(0x63, 10, 7, -4, 0),
    ]);
    p.extend(map(sockets));
    p.extend(key);
    p.extend([
        call(LOOKUP_ELEMENT),
        if_equal(0, 0, 0),
        copy(7, 0),
        copy(1, 6),
        copy(2, 7),
        set(3, 0),
        call(SK_ASSIGN),
        copy(1, 7),
        call(SK_RELEASE),
    ]);
    // What jumps by 0 is to jump to the end: pass.
    let end = p.len();
    for (at, i) in p.iter_mut().enumerate() {
        if matches!(i.code, 0x15 | 0x55) && i.offset == 0 {
            i.offset = i16::try_from(end - at - 1).unwrap_or(0);
        }
    }
    p.extend([set(0, 1), insn(0x95, 0, 0, 0, 0)]);
    p
}

/// Ports about which the kernel keeps quiet, on one interface of one network namespace. Its end
/// is the end of that.
#[derive(Debug)]
pub struct Quiet {
    ports: OwnedFd,
    /// What each word of `ports` holds.
    words: Vec<u64>,
    _link: OwnedFd,
    _sockets: [OwnedFd; 2],
}

impl Quiet {
    /// None yet, of what comes in by the interface `index` of the calling thread's network
    /// namespace, which `netns` is.
    ///
    /// # Errors
    /// The kernel is too old or forbids it: then the ports need a socket each.
    pub fn new(index: u32, netns: &impl AsFd) -> io::Result<Quiet> {
        let index = i32::try_from(index).map_err(io::Error::other)?;
        let ports = map(ARRAY, 8, 2 * WORDS)?;
        let deaf = map(SOCKMAP, 8, 2)?;
        let sockets = [SocketType::STREAM, SocketType::DGRAM].map(socket);
        let [tcp, udp] = sockets;
        let sockets = [tcp?, udp?];
        for (key, fd) in (0..).zip(&sockets) {
            update(&deaf, key, fd.as_raw_fd().cast_unsigned().into())?;
        }
        let program = program(index, &ports, &deaf);
        let loaded = load(SK_LOOKUP_PROGRAM, SK_LOOKUP_ATTACH, &program)?;
        let number = |fd: libc::c_int| fd.cast_unsigned();
        let small = [
            (0, number(loaded.as_raw_fd())),
            (4, number(netns.as_fd().as_raw_fd())),
            (8, SK_LOOKUP_ATTACH),
        ];
        Ok(Quiet {
            ports,
            words: vec![0; 2 * WORDS as usize],
            _link: made(LINK_CREATE, &Attributes::new(&small, &[]))?,
            _sockets: sockets,
        })
    }

    /// Keeps quiet about these ports, or no longer.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&mut self, proto: Proto, first: u16, last: u16, quiet: bool) -> io::Result<()> {
        let half = if proto == Proto::UDP { WORDS } else { 0 };
        for word in first >> 6..=last >> 6 {
            let low = u64::MAX << (first.max(word << 6) & 63);
            let high = u64::MAX >> (63 - (last.min(word << 6 | 63) & 63));
            let key = half + u32::from(word);
            let Some(bits) = self.words.get_mut(key as usize) else {
                continue;
            };
            match quiet {
                true => *bits |= low & high,
                false => *bits &= !(low & high),
            }
            update(&self.ports, key, *bits)?;
        }
        Ok(())
    }
}

/// A socket that hears nothing, on a port of the loopback that the kernel chooses.
fn socket(kind: SocketType) -> io::Result<OwnedFd> {
    let fd = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    filter::attach(&fd, &nothing())?;
    bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    if kind == SocketType::STREAM {
        listen(&fd, 1)?;
    }
    Ok(fd)
}
