//! What is replaced whole while workers run: the configuration, the table of ports and the published
//! ports, as one worker keeps them.

use super::ports::PortTable;
use super::switch::Switch;
use crate::base::Config;
use crate::nat::view::View;
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

struct RulesOf(Arc<Switch>);

impl Deref for RulesOf {
    type Target = ArcSwap<View>;

    fn deref(&self) -> &ArcSwap<View> {
        self.0.rules.current()
    }
}

/// All of it, as it stands during one batch.
#[derive(Clone, Copy)]
pub struct Set<'a> {
    /// The configuration.
    pub cfg: &'a Config,
    /// The ports.
    pub ports: &'a PortTable,
    /// The published ports.
    pub rules: &'a View,
}

/// One worker's copies of the three handles. A look at whether they are the present ones is a plain
/// load each, where a guard on the shared ones is two exchanges.
pub struct Settings {
    cfg: Cache<CfgOf, Arc<Config>>,
    ports: Cache<PortsOf, Arc<PortTable>>,
    rules: Cache<RulesOf, Arc<View>>,
}

impl Settings {
    /// Those of a switch.
    pub fn of(sw: &Arc<Switch>) -> Settings {
        Settings {
            cfg: Cache::new(CfgOf(Arc::clone(sw))),
            ports: Cache::new(PortsOf(Arc::clone(sw))),
            rules: Cache::new(RulesOf(Arc::clone(sw))),
        }
    }

    /// All of it, as of now: whoever sees a generation of the switch sees at least the configuration
    /// and the ports that it was bumped for.
    #[inline]
    pub fn load(&mut self, sw: &Switch) -> Set<'_> {
        // An acquiring load, before the plain ones.
        let _ = sw.generation();
        Set {
            cfg: self.cfg.load(),
            ports: self.ports.load(),
            rules: self.rules.load(),
        }
    }
}
