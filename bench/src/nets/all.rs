//! The networks that are up, made when they are asked for.

use super::{Net, PatchNet, Side, SlirpNet, SwitchNet, TwinNet, VethNet};
use crate::Result;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// What networks are made with.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// A command that becomes switchd when flags follow.
    pub switchd: Vec<OsString>,
    /// A command that becomes the zero-work patch.
    pub patch: Vec<OsString>,
    /// Further flags of switchd.
    pub flags: Vec<String>,
    /// Ports of the crowded switch.
    pub ports: usize,
}

/// A network, or why there is none of this kind here.
type Made = std::result::Result<Box<dyn Net>, String>;

/// All networks that are up.
pub struct Nets {
    wishes: Wishes,
    made: BTreeMap<Side, Made>,
}

impl Nets {
    /// None yet.
    pub fn new(wishes: Wishes) -> Nets {
        Nets {
            wishes,
            made: BTreeMap::new(),
        }
    }

    /// Brings up what `sides` need, and takes down what they don't and would disturb them: a
    /// crowd, and a switch that may hold the cores awake.
    ///
    /// # Errors
    /// What failed. What can't be had here is no error: see [`Nets::get`].
    pub fn prepare(&mut self, sides: &[Side]) -> Result<()> {
        let needed = |side: &Side| sides.iter().any(|s| s.network() == *side);
        self.made.retain(|side, _| {
            needed(side)
                || !matches!(
                    side,
                    Side::Crowd | Side::LowLatency | Side::Nic | Side::Sockets | Side::SocketsJumbo
                )
        });
        for side in sides {
            let side = side.network();
            if !self.made.contains_key(&side) {
                let made = self.make(side)?;
                self.made.insert(side, made);
            }
        }
        Ok(())
    }

    /// The network of a side; or why there is none.
    pub fn get(&mut self, side: Side) -> std::result::Result<&mut dyn Net, String> {
        match self.made.get_mut(&side.network()) {
            Some(Ok(net)) => Ok(net.as_mut()),
            Some(Err(why)) => Err(why.clone()),
            None => Err(format!("nobody asked for {}", side.name())),
        }
    }

    /// Takes a network down that can't be trusted any more; the next measure gets a new one.
    pub fn forget(&mut self, side: Side) {
        self.made.remove(&side.network());
    }

    fn make(&self, side: Side) -> Result<Made> {
        let w = &self.wishes;
        let switch = |flags: &[String], ports| -> Result<Made> {
            let made = SwitchNet::build(&w.switchd, flags, ports)?;
            Ok(made.map(|net| Box::new(net) as Box<dyn Net>))
        };
        let sockets = |mtu| -> Result<Made> {
            let made = SwitchNet::by_sockets(&w.switchd, &w.flags, mtu)?;
            Ok(made.map(|net| Box::new(net) as Box<dyn Net>))
        };
        let nic = || -> Result<Made> {
            let made = SwitchNet::by_nic(&w.switchd, &w.flags)?;
            Ok(made.map(|net| Box::new(net) as Box<dyn Net>))
        };
        let slirp = |mtu| -> Result<Made> {
            Ok(SlirpNet::build(mtu)?.map(|net| Box::new(net) as Box<dyn Net>))
        };
        match side {
            Side::Twin | Side::TwinAwake => Ok(Ok(Box::new(TwinNet::build()?))),
            Side::Patch => Ok(Ok(Box::new(PatchNet::build(&w.patch)?))),
            Side::Switchd => switch(&w.flags, 2),
            Side::Crowd => switch(&w.flags, w.ports),
            Side::Veth => Ok(Ok(Box::new(VethNet::build(1_500)?))),
            Side::VethJumbo => Ok(Ok(Box::new(VethNet::build(65_520)?))),
            Side::Sockets => sockets(1_500),
            Side::SocketsJumbo => sockets(65_520),
            Side::Nic => nic(),
            Side::Slirp => slirp(1_500),
            Side::SlirpJumbo => slirp(65_520),
            Side::LowLatency => {
                let low = ["--latency".to_owned(), "low".to_owned()];
                match w.flags.iter().any(|f| f.starts_with("--latency")) {
                    true => switch(&w.flags, 2),
                    false => switch(&[&w.flags[..], &low].concat(), 2),
                }
            }
        }
    }
}
