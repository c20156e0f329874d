//! What is replaced whole while workers run: the configuration and the table of ports, as one
//! worker keeps them.

use super::ports::PortTable;
use super::switch::Switch;
use crate::base::Config;
use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use std::ops::Deref;
use std::sync::Arc;

struct CfgOf(Arc<Switch>);

impl Deref for CfgOf {
    type Target = ArcSwap<Config>;

    fn deref(&self) -> &ArcSwap<Config> {
        &self.0.cfg
    }
}

struct PortsOf(Arc<Switch>);

impl Deref for PortsOf {
    type Target = ArcSwap<PortTable>;

    fn deref(&self) -> &ArcSwap<PortTable> {
        &self.0.ports
    }
}

/// One worker's copies of the two handles. A look at whether they are the present ones is a plain
/// load each, where a guard on the shared ones is two exchanges.
pub struct Settings {
    cfg: Cache<CfgOf, Arc<Config>>,
    ports: Cache<PortsOf, Arc<PortTable>>,
}

impl Settings {
    /// Those of a switch.
    pub fn of(sw: &Arc<Switch>) -> Settings {
        Settings {
            cfg: Cache::new(CfgOf(Arc::clone(sw))),
            ports: Cache::new(PortsOf(Arc::clone(sw))),
        }
    }

    /// Both, as of now: whoever sees a generation of the switch sees at least the state that it
    /// was bumped for.
    #[inline]
    pub fn load(&mut self, sw: &Switch) -> (&Config, &PortTable) {
        // An acquiring load, before the plain ones.
        let _ = sw.generation();
        (self.cfg.load(), self.ports.load())
    }
}
