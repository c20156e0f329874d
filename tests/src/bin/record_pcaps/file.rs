//! Captures as pcapng files: one interface per port of the switch, named as the port is.

use control::replay::capture::{Capture, Interface, Packet};
use control::replay::save;
use dataplane::base::Mac;
use dataplane::frame::VnetHdr;
use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// A frame as it came in by a port of the switch.
#[derive(Clone, Debug)]
pub struct Record {
    /// Since the capture's start.
    pub at: Duration,
    /// Name of the port.
    pub port: &'static str,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// The `virtio_net_hdr` that came with it, as its ten bytes: a hostile one says more than
    /// [`VnetHdr`] can.
    pub vnet: [u8; VnetHdr::LEN],
    /// What it is for, if the frame was made by hand.
    pub note: Option<String>,
}

/// The ports of a capture, with MAC and address of the interface at the other end.
pub type Ports = [(&'static str, Mac, Option<Ipv4Addr>)];

/// All captures begin then (2026-01-01), so that recording again changes no more than it must.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Writes a capture.
pub fn write(path: &Path, ports: &Ports, records: &[Record]) -> Result<(), Box<dyn Error>> {
    let packet = |r: &Record| -> Result<Packet, Box<dyn Error>> {
        Ok(Packet {
            at: u64::try_from((EPOCH + r.at).as_nanos())?,
            interface: ports
                .iter()
                .position(|p| p.0 == r.port)
                .ok_or("no such port")?,
            bytes: r.bytes.clone(),
            original_len: u32::try_from(r.bytes.len())?,
            vnet: r.vnet,
            comment: r.note.clone(),
        })
    };
    let capture = Capture {
        interfaces: ports
            .iter()
            .map(|(name, mac, ip)| Interface::new(name, Some(*mac), *ip))
            .collect(),
        packets: records.iter().map(packet).collect::<Result<_, _>>()?,
        trouble: None,
    };
    Ok(save(path, &capture)?)
}
