//! Writes pcapng. What a packet's `virtio_net_hdr` said stands in its comment.

use super::pcap::CaptureError;
use super::pcap_hdr::write_hdr;
use crate::base::Instant;
use crate::frame::VnetHdr;
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use std::borrow::Cow;
use std::io::{IoSlice, Write};
use std::time::Duration;

/// Writes pcapng in the machine's byte order, timestamps in nanoseconds.
pub struct Writer<W: Write> {
    inner: PcapNgWriter<W>,
    interfaces: u32,
    scratch: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the section header.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(to: W) -> Result<Writer<W>, CaptureError> {
        Ok(Writer {
            inner: PcapNgWriter::new(to)?,
            interfaces: 0,
            scratch: Vec::new(),
        })
    }

    /// Describes an interface; packets refer to it by the number returned.
    ///
    /// # Errors
    /// What the writer says.
    pub fn add_interface(&mut self, name: &str) -> Result<u32, CaptureError> {
        self.inner.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        })?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Writes a frame whose bytes are `parts`.
    ///
    /// # Errors
    /// An interface that was not added, or what the writer says.
    pub fn write(
        &mut self,
        interface: u32,
        at: Instant,
        hdr: &VnetHdr,
        parts: &[IoSlice<'_>],
    ) -> Result<(), CaptureError> {
        self.scratch.clear();
        for p in parts {
            self.scratch.extend_from_slice(p);
        }
        let options = write_hdr(hdr)
            .map(|text| EnhancedPacketOption::Comment(Cow::Owned(text)))
            .into_iter()
            .collect();
        self.inner.write_pcapng_block(EnhancedPacketBlock {
            interface_id: interface,
            timestamp: Duration::from_nanos(at.0),
            original_len: u32::try_from(self.scratch.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&self.scratch),
            options,
        })?;
        Ok(())
    }

    /// Flushes what the writer buffers.
    ///
    /// # Errors
    /// What the writer says.
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        Ok(self.inner.get_mut().flush()?)
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.inner.into_inner()
    }
}
