//! Datagrams that come back.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Sends each datagram back to where it came from, and remembers whence the last one came.
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<SocketAddr>>>,
}

impl Echo {
    /// Starts on `socket`.
    pub fn start(socket: UdpSocket) -> Echo {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout");
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            let mut clients = Vec::new();
            while !flag.load(Ordering::Relaxed) {
                let Ok((n, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                if !clients.contains(&from) {
                    clients.push(from);
                }
                // One that can't be sent back is missed at the other end.
                let _ = socket.send_to(&buffer[..n], from);
            }
            clients
        });
        Echo {
            stop,
            thread: Some(thread),
        }
    }

    /// Ends it; who was there, in order.
    pub fn finish(mut self) -> Vec<SocketAddr> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .expect("a running echo")
            .join()
            .expect("the echo")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

/// Sends `count` datagrams of `size` bytes, one after the other; how many came back unchanged
/// and from where they were sent.
///
/// # Errors
/// What the system says about sending, an ICMP error among it.
pub fn echoes(socket: &UdpSocket, to: SocketAddr, count: usize, size: usize) -> io::Result<usize> {
    let mut back = 0;
    let mut buffer = vec![0; 65_536];
    for i in 0..count {
        let datagram: Vec<u8> = (0..size).map(|b| (b * 7 + i) as u8).collect();
        socket.send_to(&datagram, to)?;
        match socket.recv_from(&mut buffer) {
            Ok((n, from)) => {
                assert_eq!(from, to, "an answer from another address");
                assert!(
                    buffer[..n] == datagram,
                    "datagram {i} of {size} bytes came back changed"
                );
                back += 1;
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(back)
}
