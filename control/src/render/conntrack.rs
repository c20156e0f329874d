//! As `conntrack -L` prints its entries.

use crate::api::types::{Connection, Tuple};
use std::fmt::Write;

/// One line per connection.
pub fn render(connections: &[Connection]) -> String {
    let mut out = String::new();
    for c in connections {
        let _ = write!(
            out,
            "{:<8} {} {} ",
            c.proto,
            c.proto_number,
            c.expires_ms / 1000
        );
        if !c.state.is_empty() {
            let _ = write!(out, "{} ", c.state);
        }
        tuple(&mut out, &c.orig);
        if !c.replied {
            out.push_str("[UNREPLIED] ");
        }
        tuple(&mut out, &c.reply);
        if c.assured {
            out.push_str("[ASSURED] ");
        }
        out.push_str("mark=0 use=1\n");
    }
    out
}

/// The closing line, which goes to stderr.
pub fn closing(count: usize) -> String {
    format!(
        "switchctl v{} (switchd): {count} flow entries have been shown.",
        env!("CARGO_PKG_VERSION")
    )
}

fn tuple(out: &mut String, t: &Tuple) {
    let _ = write!(out, "src={} dst={} ", t.src, t.dst);
    if let (Some(s), Some(d)) = (t.sport, t.dport) {
        let _ = write!(out, "sport={s} dport={d} ");
    }
    if let (Some(ty), Some(id)) = (t.icmp_type, t.icmp_id) {
        let _ = write!(out, "type={ty} code=0 id={id} ");
    }
}
