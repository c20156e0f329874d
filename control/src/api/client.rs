//! The client: hyper on a Unix socket, one connection per call, blocking.

use super::error::ErrorBody;
use crate::plan::Failure;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take. Attaching does a dozen system calls; this is for a daemon that
/// hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("no switchd answers at {path}: {why}")]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said, and what to do.
        why: String,
    },
    /// The daemon refused.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// The daemon's sentence.
        message: String,
    },
    /// What answers does not speak this API.
    #[error("what answers at {path} does not speak switchd's API ({why}): check --control")]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// This process can't even ask.
    #[error("cannot call the daemon: {0}")]
    Io(#[from] io::Error),
}

impl From<ClientError> for Failure {
    /// What the daemon calls bad input is a usage error.
    fn from(e: ClientError) -> Failure {
        match &e {
            ClientError::Refused { status, .. } if *status == StatusCode::BAD_REQUEST => {
                Failure::usage(e)
            }
            _ => Failure::refused(e),
        }
    }
}

/// A client of one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Of the daemon with this control socket. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Client {
        Client { path: path.into() }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `GET path`, as text and as a value.
    ///
    /// # Errors
    /// See [`ClientError`]; likewise for the further calls.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.value(&self.call(Method::GET, path, Vec::new())?)
    }

    /// `POST path` with a body.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(io::Error::from)?;
        self.value(&self.call(Method::POST, path, body)?)
    }

    /// `DELETE path/name`, the name encoded.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<T, ClientError> {
        self.value(&self.call(
            Method::DELETE,
            &format!("{path}/{}", encode(name)),
            Vec::new(),
        )?)
    }

    fn value<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|e| self.protocol(e))
    }

    fn protocol(&self, why: impl ToString) -> ClientError {
        ClientError::Protocol {
            path: self.path.clone(),
            why: why.to_string(),
        }
    }

    /// The body of a successful answer.
    fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.exchange(method, path, body))
                .await
                .map_err(|_| self.protocol("no answer within 30 s"))?
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, ClientError> {
        let stream = tokio::net::UnixStream::connect(&self.path)
            .await
            .map_err(|e| self.nobody(&e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.protocol(e))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "switchd")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| self.protocol(e))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| self.protocol(e))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|e| self.protocol(e))?
            .to_bytes();
        driver.abort();
        if status.is_success() {
            return Ok(body.to_vec());
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { error }) => Err(ClientError::Refused {
                status,
                message: error,
            }),
            Err(_) => Err(self.protocol(format!("status {status}"))),
        }
    }

    fn path_is_socket(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|m| m.file_type().is_socket())
    }

    fn nobody(&self, e: &io::Error) -> ClientError {
        let why = match e.kind() {
            ErrorKind::NotFound => {
                "the socket does not exist; start switchd, or say where it is with --control PATH"
                    .to_owned()
            }
            ErrorKind::ConnectionRefused if !self.path_is_socket() => {
                "it is not a socket; say where it is with --control PATH".to_owned()
            }
            ErrorKind::ConnectionRefused => {
                "its daemon is gone; start switchd again, or say where it is with --control PATH"
                    .to_owned()
            }
            ErrorKind::PermissionDenied => {
                "permission denied; be the user who started it, or root".to_owned()
            }
            _ => format!("{e}; say where it is with --control PATH"),
        };
        ClientError::NoDaemon {
            path: self.path.clone(),
            why,
        }
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for b in name.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}
