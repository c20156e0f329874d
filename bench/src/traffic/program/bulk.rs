//! TCP streams, as iperf3 makes them.

use super::tcp::{dial, serve_each};
use super::{Meter, Programs, timed_out};
use crate::Result;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4};

/// Bytes in one call (iperf3's default).
const BLOCK: usize = 128 * 1024;

/// Reads each stream to its end.
pub(super) fn sink(p: &mut Programs, role: usize, port: u16, streams: usize) -> Result<()> {
    serve_each(p, role, port, streams, |m, mut c| {
        let mut buf = vec![0; BLOCK];
        loop {
            match c.read(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(n) => m.got(n as u64),
                Err(e) if timed_out(&e) => {
                    if m.give_up() {
                        return Ok(());
                    }
                }
                Err(e) => return Err(e),
            }
        }
    })
}

/// Fills a stream until told to end, then closes it, so that the sink finds its end.
pub(super) fn source(m: &mut Meter, to: SocketAddrV4) -> io::Result<()> {
    let Some(mut c) = dial(m, to)? else {
        return Ok(());
    };
    let buf = vec![0x5a; BLOCK];
    while !m.stopped() {
        match c.write(&buf) {
            Ok(n) => m.sent(n as u64),
            Err(e) if timed_out(&e) => {}
            Err(e) => return Err(e),
        }
    }
    c.shutdown(Shutdown::Write)
}
