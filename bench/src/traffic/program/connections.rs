//! Short connections, as netperf's TCP_CRR makes them: connect, ask, read the answer to its end.
//! The server closes first.

use super::tcp::{SMALL, accept, dial, listener, read_all};
use super::{Meter, Programs};
use crate::Result;
use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Instant;

/// Answers on `threads` threads.
pub(super) fn answer(p: &mut Programs, role: usize, port: u16, threads: usize) -> Result<()> {
    let listener = Arc::new(listener(p, port)?);
    p.spawn(role, threads, move |m| {
        while let Some(mut c) = accept(m, &listener)? {
            let mut buf = [0u8; SMALL];
            if read_all(m, &mut c, &mut buf)? {
                m.got(1);
                c.write_all(&buf)?;
                m.sent(1);
            }
        }
        Ok(())
    })
}

/// One connection after the other.
pub(super) fn dial_again(m: &mut Meter, to: SocketAddrV4) -> io::Result<()> {
    while !m.stopped() {
        let begun = Instant::now();
        m.sent(1);
        let Some(mut c) = dial(m, to)? else {
            break;
        };
        let mut buf = [0x5a; SMALL];
        c.write_all(&buf)?;
        if !read_all(m, &mut c, &mut buf)? {
            break;
        }
        // The server's FIN.
        read_all(m, &mut c, &mut [0])?;
        m.time(begun);
        m.got(1);
    }
    Ok(())
}
