//! Sequences from the captures in `pcaps/`: a stretch of one, with frames left out, repeated and
//! in another order. What was made by hand to be refused is left to `generate`. Frames of the
//! host (`sw0`) are left out: the kernel is that host itself here.

use super::canon::{assembled, ipv4_header};
use super::sequence::{Sequence, Step};
use super::{OUTSIDE, Out, PORTS, Wire};
use crate::memory::{GW, UP};
use control::replay::load;
use dataplane::port::fault::Rng;
use std::path::Path;

/// The frames of each capture.
#[derive(Debug, Default)]
pub struct Captures(Vec<(String, Vec<Wire>)>);

impl Captures {
    /// Reads all.
    ///
    /// # Errors
    /// What could not be read.
    pub fn read() -> Result<Captures, String> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps");
        let entries = std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let mut all = Vec::new();
        for path in entries.flatten().map(|e| e.path()) {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let by_hand = ["malformed", "hostile", "handmade"]
                .iter()
                .any(|w| name.contains(w));
            if path.extension().is_none_or(|e| e != "pcapng") || by_hand {
                continue;
            }
            let capture = load(&path).map_err(|e| e.to_string())?;
            let wires: Vec<Wire> = capture
                .packets
                .iter()
                .filter_map(|p| {
                    let port = match capture.interfaces[p.interface].name.as_deref()? {
                        "web" => 0,
                        "db" => 1,
                        "uplink" => OUTSIDE,
                        _ => return None,
                    };
                    let (bytes, hdr) = (p.bytes.clone(), p.hdr());
                    comparable(&bytes).then_some(Wire { port, bytes, hdr })
                })
                .collect();
            all.push((name, wires));
        }
        all.retain(|c| !c.1.is_empty());
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Captures(all))
    }

    /// A stretch of one.
    pub fn sequence(&self, seed: u64) -> Sequence {
        let mut rng = Rng::new(seed);
        let (_, all) = &self.0[rng.below(self.0.len() as u64) as usize];
        let begin = match rng.below(2) {
            0 => 0,
            _ => rng.below(all.len() as u64) as usize,
        };
        let mut wires: Vec<Wire> = Vec::new();
        for w in all.iter().skip(begin).take(4 + rng.below(40) as usize) {
            match rng.below(20) {
                0 => {}
                1 if !fragment(w) => wires.extend([w.clone(), w.clone()]),
                _ => wires.push(w.clone()),
            }
        }
        if wires.len() > 1 && rng.below(3) == 0 {
            let at = rng.below(wires.len() as u64 - 1) as usize;
            wires.swap(at, at + 1);
        }
        let mut steps: Vec<Step> = Vec::new();
        for w in wires {
            // Fragments go in together: the kernel says nothing before it has all.
            match steps.last_mut() {
                Some(Step::Frames(before)) if fragment(&w) && of_one(&before[0], &w) => {
                    before.push(w);
                }
                _ => steps.push(Step::Frames(vec![w])),
            }
        }
        // What is left of a datagram would be part of the next one of that identification.
        steps.retain(|s| !matches!(s, Step::Frames(all) if fragment(&all[0]) && !whole(all)));
        Sequence {
            published: vec![0],
            flows: Vec::new(),
            steps,
        }
    }
}

fn fragment(w: &Wire) -> bool {
    ipv4_header(&w.bytes).is_some() && (w.bytes[20] & 0x3f != 0 || w.bytes[21] != 0)
}

/// Whether two are fragments of one datagram.
fn of_one(a: &Wire, b: &Wire) -> bool {
    let same = |r: std::ops::Range<usize>| a.bytes.get(r.clone()) == b.bytes.get(r);
    fragment(a) && same(18..20) && same(23..24) && same(26..34)
}

fn whole(all: &[Wire]) -> bool {
    let outs: Vec<Out> = all.iter().map(|w| Out::new(w.port, &w.bytes)).collect();
    let datagrams = assembled(&outs).len();
    let without_last = assembled(&outs[..outs.len() - 1]).len();
    datagrams == 1 && without_last == 0
}

/// IPv4 to one host that is there. ARP, IPv6, VLANs and group addresses are matters of the bridge, and what is
/// for the gateway's address of the host behind it, but for echo.
fn comparable(b: &[u8]) -> bool {
    let group = b.first().is_some_and(|b| b & 1 != 0);
    let to_host = b.get(30..34) == Some(&GW.octets());
    let echo = b.get(23) == Some(&1) && b.get(34) == Some(&8) && b.get(20..22) != Some(&[0x20, 0]);
    // Asking for others takes the kernel seconds.
    let near = matches!(b.get(30..33), Some([10, 0, 0] | [192, 0, 2]));
    let known = [GW, UP, PORTS[0], PORTS[1], PORTS[2], PORTS[3]];
    let there = !near || known.iter().any(|ip| b.get(30..34) == Some(&ip.octets()));
    b.get(12..14) == Some(&[8, 0]) && !group && there && (echo || !to_host)
}
