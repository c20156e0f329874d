//! A web server of a few lines and its client: programs that live in namespaces. A socket belongs
//! to the namespace that it was made in, whichever thread uses it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long either end waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of a request's head.
const HEAD: u64 = 8_192;

type Pages = Arc<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

/// A server. Dropped, it closes its socket at once.
pub struct WebServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    clients: Arc<Mutex<Vec<SocketAddr>>>,
    thread: Option<JoinHandle<()>>,
}

impl WebServer {
    /// Serves what `pages` gives for a path, `None` being 404.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        listener: TcpListener,
        pages: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<WebServer> {
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let clients = Arc::new(Mutex::new(Vec::new()));
        let thread = {
            let (stop, clients) = (Arc::clone(&stop), Arc::clone(&clients));
            let pages: Pages = Arc::new(pages);
            listener.set_nonblocking(true)?;
            std::thread::Builder::new()
                .name("web-server".into())
                .spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        match listener.accept() {
                            Ok((stream, from)) => {
                                lock(&clients).push(from);
                                let pages = Arc::clone(&pages);
                                // A client that goes away ends only its own thread.
                                std::thread::spawn(move || answer(stream, &pages));
                            }
                            Err(_) => std::thread::sleep(Duration::from_millis(2)),
                        }
                    }
                })?
        };
        Ok(WebServer {
            address,
            stop,
            clients,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses that connected, in order.
    pub fn clients(&self) -> Vec<SocketAddr> {
        lock(&self.clients).clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            // It has nothing to say; a panic of it was printed.
            let _ = t.join();
        }
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request of a connection (RFC 9112, with `Connection: close`).
fn answer(stream: TcpStream, pages: &Pages) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(&stream).take(HEAD);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (status, body) = match pages(path) {
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", b"no such page\n".to_vec()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(&body)
}

/// An answer, and the ends of the connection that it came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// HTTP status.
    pub status: u16,
    /// The page.
    pub body: Vec<u8>,
    /// The client's own end.
    pub local: SocketAddr,
    /// The server's end as the client sees it.
    pub peer: SocketAddr,
}

impl Fetched {
    /// The page as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }
}

/// `GET path` from the calling thread's network namespace.
///
/// # Errors
/// No connection, no answer, or one that is cut short.
pub fn fetch(server: SocketAddr, path: &str) -> io::Result<Fetched> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    (&stream).write_all(request.as_bytes())?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| bad(format!("no HTTP answer: '{}'", line.trim_end())))?;
    let mut length = None;
    loop {
        line.clear();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body)?;
    if let Some(n) = length
        && n != body.len()
    {
        return Err(bad(format!("{} of {n} bytes came", body.len())));
    }
    Ok(Fetched {
        status,
        body,
        local: stream.local_addr()?,
        peer: stream.peer_addr()?,
    })
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_whole_and_the_server_knows_who_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let big = vec![7; 300_000];
        let copy = big.clone();
        let server = WebServer::start(listener, move |path| match path {
            "/" => Some(b"hello\n".to_vec()),
            "/big" => Some(copy.clone()),
            _ => None,
        })
        .unwrap();
        let at = server.address();
        let page = fetch(at, "/").unwrap();
        assert_eq!((page.status, page.text()), (200, "hello".to_owned()));
        assert_eq!(page.peer, at);
        assert_eq!(fetch(at, "/big").unwrap().body, big);
        let other = fetch(at, "/other").unwrap();
        assert_eq!(other.status, 404);
        assert_eq!(server.clients().len(), 3);
        assert_eq!(server.clients()[2], other.local);
        drop(server);
        let refused = fetch(at, "/").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
