//! The cable between a `smoltcp` interface and whoever carries its frames.

use smoltcp::phy::{self, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant as SmolInstant;
use std::collections::VecDeque;

/// What smoltcp sees of the port.
#[derive(Debug)]
pub struct Wire {
    /// Frames for the interface to read.
    pub rx: VecDeque<Vec<u8>>,
    /// Frames that it wrote.
    pub tx: Vec<Vec<u8>>,
    /// Longest frame, with its Ethernet header.
    pub mtu: usize,
    /// Which checksums smoltcp computes and checks.
    pub checksums: ChecksumCapabilities,
}

/// A frame to be read.
#[derive(Debug)]
pub struct Rx(Vec<u8>);

/// Where a frame is written.
#[derive(Debug)]
pub struct Tx<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Rx, Tx<'_>)> {
        let frame = self.rx.pop_front()?;
        Some((Rx(frame), Tx(&mut self.tx)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut c = DeviceCapabilities::default();
        c.medium = Medium::Ethernet;
        c.max_transmission_unit = self.mtu;
        c.checksum = self.checksums.clone();
        c
    }
}

impl phy::RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let r = f(&mut frame);
        self.0.push(frame);
        r
    }
}
