//! As `bridge fdb show` prints its entries.

use crate::api::types::FdbEntry;
use std::fmt::Write;

/// One line per entry.
pub fn render(entries: &[FdbEntry]) -> String {
    let mut out = String::new();
    for e in entries {
        let _ = write!(out, "{} dev {}", e.mac, e.port);
        if e.vlan != 0 {
            let _ = write!(out, " vlan {}", e.vlan);
        }
        let _ = write!(out, " master {}", e.bridge);
        out.push_str(match (e.permanent, e.is_static) {
            (true, _) => " permanent\n",
            (false, true) => " static\n",
            (false, false) => "\n",
        });
    }
    out
}
