//! Publish and withdraw.

use super::{Published, Shared, State, sockets};
use crate::api::types::Publication as Shown;
use crate::api::{ApiError, report};
use crate::forward::{ForwardError, RelayId};
use crate::plan::spec::publication;
use crate::plan::{Undo, validate};
use dataplane::base::RuleId;
use dataplane::nat::{Publication, PublishError, RuleReport};

impl Shared {
    /// Publishes what a person asked for.
    pub(super) fn publish_words(&self, words: &str) -> Result<Shown, ApiError> {
        let p = publication::parse(words).map_err(ApiError::bad)?;
        validate::publication_fits(&p, &self.plan.network).map_err(ApiError::bad)?;
        let id = self.publish_parsed(p)?;
        tracing::info!("published {p}");
        let shown = self.shown(&self.state(), id);
        shown.ok_or_else(|| ApiError::unknown("the publication is gone"))
    }

    /// Publishes: the rule of the switch, and the listeners of the host.
    pub(super) fn publish_parsed(&self, p: Publication) -> Result<RuleId, ApiError> {
        let mut state = self.state();
        let (id, external) = match self.sockets {
            Some(_) => {
                let asked = state.published.values().map(|p| &p.publication);
                sockets::publish(&self.workers, &p, asked)
            }
            None => self.workers.publish(p).map(|id| (id, p.first)),
        }
        .map_err(|e| match e {
            PublishError::Overlap { .. } => ApiError::conflict(e),
            _ => ApiError::bad(e),
        })?;
        let mut undo = Undo::new();
        undo.done("publish", || {
            self.workers.unpublish(id);
        });
        self.yield_ports(&mut state, &p);
        let published = match self.take_ports(&mut state, id, external, p) {
            Ok(published) => published,
            Err(e) => {
                self.ports_are_free(&mut state, &p);
                return Err(e);
            }
        };
        undo.keep();
        state.published.insert(id, published);
        self.show_what_is_ours(&state);
        Ok(id)
    }

    /// Has the host listen on the ports of a publication, or nobody else.
    fn take_ports(
        &self,
        state: &mut State,
        id: RuleId,
        external: u16,
        p: Publication,
    ) -> Result<Published, ApiError> {
        let relay = match &self.sockets {
            None => self.listen(&p)?,
            Some(engine) => {
                let listens = engine.publish(id.0, &p, external);
                listens.map_err(|e| sockets::refusal(&e))?;
                None
            }
        };
        let held = match relay {
            Some(_) => Vec::new(),
            None => self.hold_published(state, &p).map_err(refused)?,
        };
        Ok(Published {
            publication: p,
            relay,
            held,
        })
    }

    /// Has the host listen, unless it is told not to or the address is the uplink's own.
    fn listen(&self, p: &Publication) -> Result<Option<RelayId>, ApiError> {
        let external = self.plan.uplink.tap().map(|u| u.ip.addr());
        let Some(relay) = &self.relay else {
            return Ok(None);
        };
        if p.host_ip.is_some() && p.host_ip == external {
            return Ok(None);
        }
        relay.publish(p).map(Some).map_err(refused)
    }

    /// Withdraws by id or by words.
    pub(super) fn unpublish_words(&self, words: &str) -> Result<Shown, ApiError> {
        let mut state = self.state();
        let id = find(&state, words)?;
        let shown = self.shown(&state, id);
        let was = state.published.remove(&id);
        let gone = was.as_ref().map(|p| p.publication);
        if let (Some(relay), Some(Published { relay: Some(r), .. })) = (&self.relay, was) {
            relay.unpublish(r);
        }
        if let Some(engine) = &self.sockets {
            engine.unpublish(id.0);
        }
        self.workers.unpublish(id);
        if let Some(p) = &gone {
            self.speak_again(&mut state, p);
            self.ports_are_free(&mut state, p);
        }
        self.show_what_is_ours(&state);
        let shown = shown.ok_or_else(|| ApiError::unknown("the publication is gone"))?;
        tracing::info!("withdrew {}", shown.spec);
        Ok(shown)
    }

    /// All published ports, by id.
    pub(super) fn all_published(&self) -> Vec<Shown> {
        let state = self.state();
        let mut all: Vec<Shown> = self
            .workers
            .rules()
            .rules
            .iter()
            .map(|r| self.as_asked(&state, r))
            .collect();
        all.sort_by_key(|p| p.id);
        all
    }

    fn shown(&self, state: &State, id: RuleId) -> Option<Shown> {
        let rules = self.workers.rules().rules;
        let rule = rules.iter().find(|r| r.id == id)?;
        Some(self.as_asked(state, rule))
    }

    /// A rule in the words in which it was asked for.
    fn as_asked(&self, state: &State, r: &RuleReport) -> Shown {
        let listens = listens(state, r) || self.sockets.is_some();
        let asked = state.published.get(&r.id).map(|p| p.publication);
        let publication = asked.unwrap_or(r.publication);
        report::publication(&RuleReport { publication, ..*r }, listens)
    }
}

/// A port of the host that can't be had.
fn refused(e: ForwardError) -> ApiError {
    match e {
        ForwardError::InUse { .. } => {
            ApiError::conflict(format!("{e}: stop that one, or publish another host port"))
        }
        ForwardError::NoAddress { .. } => {
            ApiError::conflict(format!("{e}: give one of its addresses, or none for all"))
        }
        ForwardError::Unfit(_) | ForwardError::HostAddress(_) => ApiError::bad(e),
        _ => ApiError::refused(e),
    }
}

fn listens(state: &State, r: &RuleReport) -> bool {
    state
        .published
        .get(&r.id)
        .is_some_and(|p| p.relay.is_some())
}

/// The publication with this id, or written like this.
fn find(state: &State, words: &str) -> Result<RuleId, ApiError> {
    let unknown = || {
        ApiError::unknown(format!(
            "nothing is published as '{words}': see switchctl status"
        ))
    };
    if !words.is_empty() && words.bytes().all(|b| b.is_ascii_digit()) {
        let id = words.parse().map(RuleId).map_err(|_| unknown())?;
        return match state.published.contains_key(&id) {
            true => Ok(id),
            false => Err(unknown()),
        };
    }
    let p = publication::parse(words).map_err(ApiError::bad)?;
    let hit = state.published.iter().find(|(_, q)| q.publication == p);
    hit.map(|(id, _)| *id).ok_or_else(unknown)
}
