//! As `ip neigh` prints its entries.

use crate::api::types::Neighbour;
use std::fmt::Write;

/// One line per neighbour.
pub fn render(neighbours: &[Neighbour]) -> String {
    let mut out = String::new();
    for n in neighbours {
        let _ = write!(out, "{} dev {}", n.ip, n.device);
        if let Some(mac) = &n.mac {
            let _ = write!(out, " lladdr {mac}");
        }
        let _ = writeln!(out, " {}", n.state);
    }
    out
}
