//! Request and response of 64 bytes, as netperf's TCP_RR has them.

use super::tcp::{SMALL, dial, read_all, serve_each};
use super::{Meter, Programs};
use crate::Result;
use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::time::Instant;

/// Sends each request back.
pub(super) fn echo(p: &mut Programs, role: usize, port: u16, connections: usize) -> Result<()> {
    serve_each(p, role, port, connections, |m, mut c| {
        let mut buf = [0u8; SMALL];
        while read_all(m, &mut c, &mut buf)? {
            m.got(1);
            c.write_all(&buf)?;
            m.sent(1);
        }
        Ok(())
    })
}

/// Asks again when the answer is there.
pub(super) fn ask(m: &mut Meter, to: SocketAddrV4) -> io::Result<()> {
    let Some(mut c) = dial(m, to)? else {
        return Ok(());
    };
    let mut buf = [0x5a; SMALL];
    while !m.stopped() {
        let begun = Instant::now();
        c.write_all(&buf)?;
        m.sent(1);
        if !read_all(m, &mut c, &mut buf)? {
            break;
        }
        m.time(begun);
        m.got(1);
    }
    Ok(())
}
