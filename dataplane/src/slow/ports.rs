//! The table of ports, and what is said about ports.

use crate::base::{Mac, PortId, PortInfo, PortSpec, Role};
use std::sync::Arc;

/// The ports at one moment; replaced whole, so that a batch sees one state.
#[derive(Clone, Default)]
pub struct PortTable {
    ports: Vec<Option<Arc<PortSpec>>>,
    host: Option<PortId>,
    uplink: Option<PortId>,
}

impl PortTable {
    /// The port's specification.
    #[inline]
    pub fn get(&self, id: PortId) -> Option<&PortSpec> {
        self.ports.get(id.index())?.as_deref()
    }

    /// `sw0`.
    #[inline]
    pub fn host(&self) -> Option<PortId> {
        self.host
    }

    /// The uplink.
    #[inline]
    pub fn uplink(&self) -> Option<PortId> {
        self.uplink
    }

    /// All ports, by index.
    pub fn iter(&self) -> impl Iterator<Item = (PortId, &PortSpec)> {
        (0u16..)
            .zip(&self.ports)
            .filter_map(|(i, p)| Some((PortId(i), p.as_deref()?)))
    }

    /// The members of the bridge domain other than `except`.
    pub fn bridged(&self, except: PortId) -> impl Iterator<Item = PortId> + '_ {
        self.iter()
            .filter(move |(id, p)| *id != except && p.role != Role::Uplink)
            .map(|(id, _)| id)
    }

    /// The index that a port would get: the lowest free one.
    pub(super) fn admit(&self, spec: &PortSpec) -> Result<PortId, AddPortError> {
        for (_, other) in self.iter() {
            if spec.role != Role::Access && other.role == spec.role {
                return Err(AddPortError::Taken(spec.role, other.name.clone()));
            }
            if spec.role != Role::Uplink && other.role != Role::Uplink && other.mac == spec.mac {
                return Err(AddPortError::DuplicateMac(spec.mac, other.name.clone()));
            }
        }
        let free = self.ports.iter().position(Option::is_none);
        let free = free.unwrap_or(self.ports.len());
        if free >= PortId::MAX_PORTS {
            return Err(AddPortError::Full(PortId::MAX_PORTS));
        }
        Ok(PortId(free as u16))
    }

    /// Enters a port under the index that [`PortTable::admit`] gave.
    pub(super) fn insert(&mut self, id: PortId, spec: PortSpec) {
        match spec.role {
            Role::Host => self.host = Some(id),
            Role::Uplink => self.uplink = Some(id),
            Role::Access => {}
        }
        if id.index() == self.ports.len() {
            self.ports.push(None);
        }
        if let Some(slot) = self.ports.get_mut(id.index()) {
            *slot = Some(Arc::new(spec));
        }
    }

    /// Takes a port out.
    pub(super) fn remove(&mut self, id: PortId) -> Option<Arc<PortSpec>> {
        let spec = self.ports.get_mut(id.index())?.take()?;
        self.host = self.host.filter(|h| *h != id);
        self.uplink = self.uplink.filter(|u| *u != id);
        Some(spec)
    }
}

/// A port with what all workers counted for it since it was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortReport {
    /// The port.
    pub info: PortInfo,
    /// Frames read.
    pub rx_frames: u64,
    /// Bytes read.
    pub rx_bytes: u64,
    /// Frames written.
    pub tx_frames: u64,
    /// Bytes written.
    pub tx_bytes: u64,
    /// Frames dropped.
    pub drops: u64,
}

/// Why a port was not added.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddPortError {
    /// The table is full.
    #[error("the switch has {0} ports already, which is the most it can have")]
    Full(usize),
    /// There can be one host port and one uplink.
    #[error("the switch has a {0:?} port already: {1}")]
    Taken(Role, String),
    /// Two interfaces with one MAC would take each other's frames.
    #[error("MAC {0} is in use by port {1}")]
    DuplicateMac(Mac, String),
    /// A worker could not take its queue.
    #[error("a worker could not take the port: {0}")]
    Worker(String),
}
