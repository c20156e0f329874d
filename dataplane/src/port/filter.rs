//! Classic BPF programs (Documentation/networking/filter.rst) that decide in the kernel what a
//! socket is shown: the uplink's own, and those of the sockets that hold our ports.
//!
//! Programs only; `sys::filter` attaches them.

/// One instruction (`struct sock_filter`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jt: u8,
    /// The same when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

// linux/bpf_common.h, by what they do.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
/// The byte at the index register plus `k`.
const LOAD_BYTE_INDEXED: u16 = 0x50;
/// The half word at the index register plus `k`.
const LOAD_HALF_INDEXED: u16 = 0x48;
/// Index register: four times the low half of the byte at `k`, the length of an IPv4 header.
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// linux/filter.h: what the kernel knows of a packet beside its bytes.
const ABOUT: u32 = (-0x1000_i32).cast_unsigned();
const PROTOCOL: u32 = ABOUT;
const PACKET_TYPE: u32 = ABOUT + 4;
const INTERFACE: u32 = ABOUT + 8;
const VLAN_TAG: u32 = ABOUT + 44;
const VLAN_PRESENT: u32 = ABOUT + 48;

const TO_US: u32 = 0;
const BROADCAST: u32 = 1;
const IPV4: u32 = 0x0800;
const ARP: u32 = 0x0806;

/// The kernel takes no longer program (`BPF_MAXINSNS`).
const LONGEST: usize = 4_096;

const fn does(code: u16, k: u32) -> Insn {
    Insn {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

const ALL: Insn = does(RETURN, u32::MAX);
const NOTHING: Insn = does(RETURN, 0);

/// Shows nothing.
pub const fn nothing() -> [Insn; 1] {
    [NOTHING]
}

/// Shows what did not come in by the interface `index`.
pub const fn not_from(index: u32) -> [Insn; 4] {
    [
        does(LOAD_WORD, INTERFACE),
        branch(JUMP_EQUAL, index, 0, 1),
        NOTHING,
        ALL,
    ]
}

/// The ports by which the outside reaches the switch on an address that it shares with its host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OurPorts {
    /// TCP ports, as first and last of each range.
    pub tcp: Vec<(u16, u16)>,
    /// UDP ports.
    pub udp: Vec<(u16, u16)>,
    /// Identifiers of echo replies.
    pub echo: Vec<(u16, u16)>,
}

/// Shows of an Ethernet interface what may be the switch's: untagged, addressed to the interface,
/// ARP or IPv4 to one of these ports, and what these can't tell: fragments and ICMP errors. What
/// the host itself sends and what it gets for itself stays out of user space.
///
/// With more ranges than a program can hold, all of TCP and UDP is shown.
pub fn uplink(ours: &OurPorts) -> Vec<Insn> {
    let mut p = vec![
        // An untagged frame, or one with a priority and no network (VID 0).
        does(LOAD_WORD, VLAN_PRESENT),
        branch(JUMP_EQUAL, 0, 3, 0),
        does(LOAD_WORD, VLAN_TAG),
        branch(JUMP_ANY_BIT, 0x0fff, 0, 1),
        NOTHING,
        // To us, or to all.
        does(LOAD_WORD, PACKET_TYPE),
        branch(JUMP_EQUAL, TO_US, 2, 0),
        branch(JUMP_EQUAL, BROADCAST, 1, 0),
        NOTHING,
        does(LOAD_WORD, PROTOCOL),
        branch(JUMP_EQUAL, ARP, 0, 1),
        ALL,
        branch(JUMP_EQUAL, IPV4, 1, 0),
        NOTHING,
        does(LOAD_WORD, PACKET_TYPE),
        branch(JUMP_EQUAL, TO_US, 1, 0),
        NOTHING,
        // A later fragment has no port, and what the first one says decides about the others.
        does(LOAD_HALF, 20),
        branch(JUMP_ANY_BIT, 0x3fff, 0, 1),
        ALL,
        does(LOAD_HEADER_LENGTH, 14),
    ];
    let fits = ours.tcp.len() + ours.udp.len() + ours.echo.len() < LONGEST / 3 - 32;
    let all = [(0, u16::MAX)];
    let (tcp, udp) = match fits {
        true => (ours.tcp.as_slice(), ours.udp.as_slice()),
        false => (all.as_slice(), all.as_slice()),
    };
    for (proto, ranges) in [(6, tcp), (17, udp)] {
        // A conditional jump reaches 255 instructions: past a list leads one without conditions.
        p.extend([
            does(LOAD_BYTE, 23),
            branch(JUMP_EQUAL, proto, 1, 0),
            does(JUMP, 2 + 3 * ranges.len() as u32),
            does(LOAD_HALF_INDEXED, 16),
        ]);
        p.extend(ranges.iter().flat_map(|r| within(*r)));
        p.push(NOTHING);
    }
    p.extend([
        does(LOAD_BYTE, 23),
        branch(JUMP_EQUAL, 1, 1, 0),
        NOTHING,
        // Unreachable, time exceeded, parameter problem; or an echo reply by its identifier.
        does(LOAD_BYTE_INDEXED, 14),
        branch(JUMP_EQUAL, 3, 3, 0),
        branch(JUMP_EQUAL, 11, 2, 0),
        branch(JUMP_EQUAL, 12, 1, 0),
        branch(JUMP_EQUAL, 0, 2, 1),
        ALL,
        NOTHING,
        does(LOAD_HALF_INDEXED, 18),
    ]);
    p.extend(ours.echo.iter().flat_map(|r| within(*r)));
    p.push(NOTHING);
    p
}

/// `ALL` if the accumulator is in the range, else on.
const fn within((first, last): (u16, u16)) -> [Insn; 3] {
    [
        branch(JUMP_AT_LEAST, first as u32, 0, 2),
        branch(JUMP_ABOVE, last as u32, 1, 0),
        ALL,
    ]
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
