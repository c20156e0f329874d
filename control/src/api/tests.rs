//! The server and the client against each other, over a real socket.

use super::client::ClientError;
use super::fake::{self, Fake};
use super::types::*;
use super::*;
use axum::http::StatusCode;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

struct Running {
    fake: Arc<Fake>,
    server: Option<Server>,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

fn start() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let fake = Arc::new(Fake::default());
    let server = Server::start(ControlSocket::bind(&path).unwrap(), fake.clone()).unwrap();
    Running {
        fake,
        server: Some(server),
        path,
        _dir: dir,
    }
}

impl Running {
    fn client(&self) -> Client {
        Client::new(&self.path)
    }

    /// One request as bytes, the answer as (status, body).
    fn raw(&self, request: &str) -> (u16, String) {
        let mut s = UnixStream::connect(&self.path).unwrap();
        s.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        s.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}

#[test]
fn what_goes_in_comes_out() {
    let r = start();
    let c = r.client();
    assert_eq!(c.get::<Status>("/v1/status").unwrap(), r.fake.status());
    assert_eq!(c.get::<Vec<Port>>("/v1/ports").unwrap(), vec![fake::port()]);
    assert_eq!(c.get::<Rules>("/v1/rules").unwrap(), r.fake.rules());
    assert_eq!(c.get::<Stats>("/v1/stats").unwrap(), r.fake.stats());
    let spec = |s: &str| AttachRequest { spec: s.into() };
    let port: Port = c
        .post("/v1/ports", &spec("web:10.0.0.2,name=eth0"))
        .unwrap();
    assert_eq!(port, fake::port());
    let _: Publication = c
        .post("/v1/publications", &spec("80:10.0.0.2:80/tcp"))
        .unwrap();
    let _: Port = c.delete("/v1/ports", "/proc/7/ns/net").unwrap();
    let _: Publication = c.delete("/v1/publications", "80:10.0.0.2:80/tcp").unwrap();
    let _: Port = c.delete("/v1/ports", "a b%2Fä").unwrap();
    let heard = r.fake.heard.lock().unwrap().clone();
    assert_eq!(
        heard,
        [
            "web:10.0.0.2,name=eth0",
            "80:10.0.0.2:80/tcp",
            "/proc/7/ns/net",
            "80:10.0.0.2:80/tcp",
            "a b%2Fä",
        ]
    );
}

#[test]
fn refusals_keep_their_kind_and_sentence() {
    let r = start();
    for (word, status, code) in [
        ("bad", StatusCode::BAD_REQUEST, 2),
        ("unknown", StatusCode::NOT_FOUND, 1),
        ("taken", StatusCode::CONFLICT, 1),
        ("refused", StatusCode::INTERNAL_SERVER_ERROR, 1),
        ("panic", StatusCode::INTERNAL_SERVER_ERROR, 1),
    ] {
        let e = r.client().delete::<Port>("/v1/ports", word).unwrap_err();
        let ClientError::Refused { status: got, .. } = &e else {
            panic!("{e}");
        };
        assert_eq!(*got, status);
        assert_eq!(crate::plan::Failure::from(e).code(), code);
    }
    // The daemon lives on after a handler panicked.
    assert!(r.client().get::<Status>("/v1/status").is_ok());
}

#[test]
fn nonsense_gets_an_error_in_json() {
    let r = start();
    let long = format!("{{\"spec\": \"{}\"}}", "x".repeat(server::BODY_LIMIT));
    for (method, path, body, status, part) in [
        ("GET", "/", "", 404, "there is no /"),
        ("GET", "/v2/status", "", 404, "/v2/status"),
        ("PUT", "/v1/ports", "", 405, "does not take this method"),
        ("POST", "/v1/status", "", 405, "does not take this method"),
        ("POST", "/v1/ports", "", 400, "not the JSON"),
        ("POST", "/v1/ports", "{", 400, "not the JSON"),
        ("POST", "/v1/ports", "[1]", 400, "not the JSON"),
        ("POST", "/v1/ports", "{}", 400, "missing field `spec`"),
        (
            "POST",
            "/v1/ports",
            "{\"spec\": 1}",
            400,
            "expected a string",
        ),
        (
            "POST",
            "/v1/ports",
            "{\"spec\": \"a\", \"x\": 1}",
            400,
            "unknown field `x`",
        ),
        (
            "POST",
            "/v1/publications",
            "{\"sepc\": \"a\"}",
            400,
            "unknown field `sepc`",
        ),
        ("POST", "/v1/ports", &long, 413, "larger than"),
        ("DELETE", "/v1/ports/%ff", "", 400, ""),
        ("DELETE", "/v1/ports", "", 405, ""),
        ("DELETE", "/v1/ports/", "", 404, ""),
    ] {
        let (got, text) = r.send(method, path, body);
        assert_eq!(got, status, "{method} {path} {text}");
        let e: error::ErrorBody =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e}: {text}"));
        assert!(e.error.contains(part), "{method} {path}: {}", e.error);
    }
    assert!(r.fake.heard.lock().unwrap().is_empty());
}

#[test]
fn stopping_removes_the_socket_even_with_an_idle_client() {
    let mut r = start();
    let mut idle = UnixStream::connect(&r.path).unwrap();
    idle.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut first = [0u8; 15];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let began = std::time::Instant::now();
    r.server.take().unwrap().stop();
    assert!(began.elapsed() < std::time::Duration::from_secs(3));
    assert!(!r.path.exists());
    let e = r
        .client()
        .get::<Status>("/v1/status")
        .unwrap_err()
        .to_string();
    assert!(e.contains("s.sock") && e.contains("start switchd"), "{e}");
}

#[test]
fn a_stranger_on_the_socket_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let t = std::thread::spawn(move || {
        let (mut s, _) = listener.accept().unwrap();
        s.write_all(b"SSH-2.0-x\r\n").unwrap();
    });
    let e = Client::new(&path).get::<Status>("/v1/status").unwrap_err();
    assert!(matches!(e, ClientError::Protocol { .. }), "{e}");
    t.join().unwrap();
}
