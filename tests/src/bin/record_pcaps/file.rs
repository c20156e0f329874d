//! Captures as pcapng files: one interface per port of the switch, named as the port is.

use dataplane::base::Mac;
use dataplane::frame::VnetHdr;
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use std::borrow::Cow;
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

/// Writes a capture. Frames whose header says something carry it as the comment `vnet=` and
/// twenty hexadecimal digits, so that any reader of pcapng shows it.
pub fn write(path: &Path, ports: &Ports, records: &[Record]) -> Result<(), Box<dyn Error>> {
    let mut out = PcapNgWriter::new(std::fs::File::create(path)?)?;
    for (name, mac, ip) in ports {
        let mut options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfTsResol(9),
            InterfaceDescriptionOption::IfMacAddr(Cow::Owned(mac.0.to_vec())),
        ];
        if let Some(ip) = ip {
            let mut both = ip.octets().to_vec();
            both.extend([255, 255, 255, 0]);
            options.push(InterfaceDescriptionOption::IfIpv4Addr(Cow::Owned(both)));
        }
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options,
        };
        out.write_pcapng_block(block)?;
    }
    for r in records {
        let id = ports
            .iter()
            .position(|p| p.0 == r.port)
            .ok_or("no such port")?;
        let mut options = Vec::new();
        if r.vnet != [0; VnetHdr::LEN] {
            let hex: String = r.vnet.iter().map(|b| format!("{b:02x}")).collect();
            options.push(EnhancedPacketOption::Comment(Cow::Owned(format!(
                "vnet={hex}"
            ))));
        }
        if let Some(note) = &r.note {
            options.push(EnhancedPacketOption::Comment(Cow::Borrowed(note)));
        }
        out.write_pcapng_block(EnhancedPacketBlock {
            interface_id: u32::try_from(id)?,
            timestamp: EPOCH + r.at,
            original_len: u32::try_from(r.bytes.len())?,
            data: Cow::Borrowed(&r.bytes),
            options,
        })?;
    }
    Ok(())
}
