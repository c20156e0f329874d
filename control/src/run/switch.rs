//! The switch that a command is attached to: a running daemon, or one of our own.

use crate::api::types::{AttachRequest, Port, Publication, PublishRequest, Status};
use crate::api::{ApiError, Backend, Client, Kind};
use crate::netns::NetnsId;
use crate::plan::Failure;
use crate::uplink::sockets::SOCKETS;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

/// What a command needs of a switch.
pub trait Switch {
    /// Attaches a namespace, in the words of `--attach`.
    ///
    /// # Errors
    /// The switch's sentence; likewise below.
    fn attach(&self, spec: &str) -> Result<Port, Failure>;
    /// Detaches it again; one that is gone already is no error.
    ///
    /// # Errors
    /// A refusal.
    fn detach(&self, name: &str) -> Result<(), Failure>;
    /// The gateway's address, if it answers DNS.
    fn dns(&self) -> Option<Ipv4Addr>;
    /// Publishes a port, in the words of `--ports`.
    ///
    /// # Errors
    /// A refusal.
    fn publish(&self, spec: &str) -> Result<Publication, Failure>;
    /// Withdraws it; one that is gone already is no error.
    ///
    /// # Errors
    /// A refusal.
    fn unpublish(&self, id: u32) -> Result<(), Failure>;
}

impl Switch for Client {
    fn attach(&self, spec: &str) -> Result<Port, Failure> {
        let request = AttachRequest {
            spec: spec.to_owned(),
        };
        Ok(self.post("/v1/ports", &request)?)
    }

    fn dns(&self) -> Option<Ipv4Addr> {
        dns(&self.get("/v1/status").ok()?)
    }

    fn detach(&self, name: &str) -> Result<(), Failure> {
        gone(self.delete::<Port>("/v1/ports", name))
    }

    fn publish(&self, spec: &str) -> Result<Publication, Failure> {
        let request = PublishRequest {
            spec: spec.to_owned(),
        };
        Ok(self.post("/v1/publications", &request)?)
    }

    fn unpublish(&self, id: u32) -> Result<(), Failure> {
        gone(self.delete::<Publication>("/v1/publications", &id.to_string()))
    }
}

fn gone<T>(result: Result<T, crate::api::client::ClientError>) -> Result<(), Failure> {
    use crate::api::client::ClientError::Refused;
    match result {
        Ok(_) => Ok(()),
        Err(Refused { status, .. }) if status == Kind::Unknown.status() => Ok(()),
        Err(e) => Err(e.into()),
    }
}

impl Switch for Arc<dyn Backend> {
    fn attach(&self, spec: &str) -> Result<Port, Failure> {
        Backend::attach(self.as_ref(), spec).map_err(failure)
    }

    fn dns(&self) -> Option<Ipv4Addr> {
        dns(&Backend::status(self.as_ref()))
    }

    fn detach(&self, name: &str) -> Result<(), Failure> {
        known(Backend::detach(self.as_ref(), name))
    }

    fn publish(&self, spec: &str) -> Result<Publication, Failure> {
        Backend::publish(self.as_ref(), spec).map_err(failure)
    }

    fn unpublish(&self, id: u32) -> Result<(), Failure> {
        known(Backend::unpublish(self.as_ref(), &id.to_string()))
    }
}

fn dns(status: &Status) -> Option<Ipv4Addr> {
    let by_sockets = status
        .uplink
        .as_ref()
        .is_some_and(|u| u.interface == SOCKETS);
    by_sockets.then_some(status.gateway)
}

fn known<T>(result: Result<T, ApiError>) -> Result<(), Failure> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if e.kind == Kind::Unknown => Ok(()),
        Err(e) => Err(failure(e)),
    }
}

fn failure(e: ApiError) -> Failure {
    match e.kind {
        Kind::BadInput => Failure::usage(e),
        _ => Failure::refused(e),
    }
}

/// The daemon at `control`, if one answers whose host namespace is `own`.
pub fn running(control: &Path, own: NetnsId) -> Option<Client> {
    let client = Client::new(control);
    let status: Status = client.get("/v1/status").ok()?;
    let host = NetnsId {
        dev: status.host_netns.dev,
        ino: status.host_netns.ino,
    };
    (host == own).then_some(client)
}
