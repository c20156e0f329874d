//! As `iptables -t nat -L -n -v` prints its chains, columns included.

use crate::api::types::{Chain, Rule, Rules};
use std::fmt::Write;

const HEADER: &str =
    " pkts bytes target     prot opt in     out     source               destination         \n";

/// All chains, an empty line between them.
pub fn render(rules: &Rules) -> String {
    let mut out = String::new();
    for (i, chain) in rules.chains.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        title(&mut out, chain);
        out.push_str(HEADER);
        for rule in &chain.rules {
            line(&mut out, rule);
        }
    }
    out
}

fn title(out: &mut String, c: &Chain) {
    let _ = match c.policy {
        Some(p) => writeln!(
            out,
            "Chain {} (policy ACCEPT {} packets, {} bytes)",
            c.name,
            scaled(p.packets),
            scaled(p.bytes)
        ),
        None => writeln!(
            out,
            "Chain {} ({} references)",
            c.name,
            c.references.unwrap_or(0)
        ),
    };
}

fn line(out: &mut String, r: &Rule) {
    let negated = |network: &str| match network.strip_prefix('!') {
        Some(n) => format!("!{n:<19} "),
        None => format!(" {network:<19} "),
    };
    let _ = write!(
        out,
        "{:>5} {:>5} {:<9}  {:<5}--  {:<6} {:<6} {}{}",
        scaled(r.count.packets),
        scaled(r.count.bytes),
        r.target,
        r.proto,
        r.input,
        r.output,
        negated(&r.source),
        negated(&r.destination),
    );
    if !r.extra.is_empty() {
        let _ = write!(out, " {}", r.extra);
    }
    out.push('\n');
}

/// A number in at most five characters: from 100,000 on in thousands (`K`), and so on, rounded.
fn scaled(n: u64) -> String {
    if n <= 99_999 {
        return n.to_string();
    }
    let mut n = n;
    for unit in ["K", "M", "G"] {
        n = n.saturating_add(500) / 1000;
        if n <= 9_999 {
            return format!("{n}{unit}");
        }
    }
    format!("{}T", n.saturating_add(500) / 1000)
}
