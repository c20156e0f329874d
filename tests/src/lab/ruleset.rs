//! The nf_tables ruleset of a namespace as the kernel dumps it, to be compared with itself later.
//!
//! Its generation number is part of it: it grows with every transaction, so that even a rule that
//! was added and taken away again shows.

use crate::oracle::netfilter::{ACK, APPEND, Attrs, CREATE, DUMP, Netfilter, attr};
use crate::oracle::nft::{
    ACCEPT, BEGIN, END, INPUT, IPV4, NEW_CHAIN, NEW_RULE, NEW_TABLE, NFTABLES,
};
use control::netns::Netns;
use std::io::{self, Write};

const GET_GENERATION: u16 = NFTABLES | 16;
/// What can be dumped: tables, chains, rules, sets, objects, flow tables.
const GET: [u16; 6] = [1, 4, 7, 10, 19, 23];
const GENERATION: u16 = 1;

/// A ruleset: its generation, and every object with all that the kernel says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ruleset {
    generation: Vec<u8>,
    objects: Vec<Vec<u8>>,
}

impl Ruleset {
    /// That of a namespace; `None`, said aloud, where the kernel has no nf_tables.
    pub fn of(netns: &Netns) -> Option<Ruleset> {
        match Ruleset::dump(netns) {
            Ok(r) => Some(r),
            Err(e) => {
                let _ = writeln!(io::stderr(), "SKIPPED comparing the ruleset: {e}");
                None
            }
        }
    }

    fn dump(netns: &Netns) -> io::Result<Ruleset> {
        let mut nf = Netfilter::inside(netns)?;
        let mut objects = Vec::new();
        for kind in GET {
            nf.push(NFTABLES | kind, DUMP, 0, 0, &Attrs::default());
            objects.extend(nf.send()?);
        }
        nf.push(GET_GENERATION, ACK, 0, 0, &Attrs::default());
        let told = nf.send()?;
        let number = told.iter().find_map(|body| attr(body, GENERATION));
        Ok(Ruleset {
            generation: number.unwrap_or_default().to_vec(),
            objects,
        })
    }

    /// How many objects it has.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Gives a host a table of its own with a chain and a rule, so that there is something to compare.
/// All is accepted.
///
/// # Errors
/// What the kernel refused.
pub fn load_some(netns: &Netns) -> io::Result<()> {
    let mut nf = Netfilter::inside(netns)?;
    let own = || Attrs::default().text(1, "site");
    nf.push(BEGIN, 0, 0, 10, &Attrs::default());
    nf.push(NEW_TABLE, CREATE, IPV4, 0, &own());
    let hook = Attrs::default().be32(1, INPUT).be32(2, 0);
    let chain = own().text(3, "input").nest(4, hook).be32(5, ACCEPT);
    nf.push(NEW_CHAIN, CREATE, IPV4, 0, &chain.text(7, "filter"));
    let code = Attrs::default().nest(2, Attrs::default().be32(1, ACCEPT));
    let verdict = Attrs::default().be32(1, 0).nest(2, code);
    let rule = Attrs::default().text(1, "immediate").nest(2, verdict);
    let rule = own()
        .text(2, "input")
        .nest(4, Attrs::default().nest(1, rule));
    nf.push(NEW_RULE, CREATE | APPEND | ACK, IPV4, 0, &rule);
    nf.push(END, 0, 0, 10, &Attrs::default());
    nf.send().map(drop)
}
