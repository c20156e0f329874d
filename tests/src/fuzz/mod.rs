//! The bodies of the fuzz targets: each takes any bytes and asserts what has to hold.
//!
//! `tests/fuzz` gives them to libFuzzer, three lines a target. `tests/tests/fuzz_corpora.rs` gives
//! them the committed corpora, so that every find and every path that a fuzzer once reached is
//! walked by the ordinary tests too.

pub mod api;
pub mod capture;
pub mod hostile;
pub mod parse;
pub mod switch;
pub mod tcp;
pub mod words;

/// What a target does with any bytes.
pub type Body = fn(&[u8]);

/// Every target by its name: that of its program and of its corpus.
pub const TARGETS: [(&str, Body); 7] = [
    ("api", api::api),
    ("capture", capture::capture),
    ("parse", parse::parse),
    ("switch", switch::switch),
    ("tcp", tcp::tcp),
    ("vnet_hdr", hostile::vnet_hdr),
    ("words", words::words),
];

/// Makes the header checksum of an IPv4 packet right, as far as there is one: what a fuzzer
/// changes would end there otherwise.
fn repair_ipv4(frame: &mut [u8]) {
    let mut l3 = 14;
    while l3 <= 18 && matches!(frame.get(l3 - 2..l3), Some([0x81, 0] | [0x88, 0xa8])) {
        l3 += 4;
    }
    let Some(header) = frame.get_mut(l3..) else {
        return;
    };
    let len = header.first().map_or(0, |b| usize::from(b & 15) * 4);
    if len < 20 || header.len() < len {
        return;
    }
    header[10..12].fill(0);
    let sum = !crate::memory::packet::naive_sum(&[&header[..len]]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}
