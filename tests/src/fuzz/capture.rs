//! Any bytes as a capture file: read or refused, never more than is there, and what was read is
//! the same when it is written and read again.

use control::replay::{capture, words};

/// The bytes are the file.
pub fn capture(data: &[u8]) {
    let first = match capture::read(data) {
        Ok(c) => c,
        Err(e) => {
            assert!(!e.to_string().contains('\n'));
            return;
        }
    };
    let kept: usize = first.packets.iter().map(|p| p.bytes.len()).sum();
    assert!(kept <= data.len());
    for p in &first.packets {
        assert!(p.interface < first.interfaces.len());
        let told = words::frame(&p.bytes, &p.hdr());
        assert!(!told.is_empty() && !told.contains('\n'), "{told:?}");
    }
    let mut file = Vec::new();
    capture::write(&first, &mut file).expect("memory takes all");
    let again = capture::read(&file).expect("our own file");
    assert_eq!(again.trouble, None);
    assert_eq!(again.interfaces.len(), first.interfaces.len());
    for (a, b) in first.interfaces.iter().zip(&again.interfaces) {
        assert_eq!((a.mac, a.ip), (b.mac, b.ip));
        assert!(long(&a.name) || a.name == b.name);
    }
    assert_eq!(again.packets.len(), first.packets.len());
    for (a, b) in first.packets.iter().zip(&again.packets) {
        assert_eq!((a.at, a.interface, &a.bytes), (b.at, b.interface, &b.bytes));
        assert_eq!((a.original_len, a.vnet), (b.original_len, b.vnet));
        assert!(long(&a.comment) || a.comment == b.comment);
    }
}

/// Longer than an option can be: written cut.
fn long(text: &Option<String>) -> bool {
    text.as_ref()
        .is_some_and(|t| t.len() > usize::from(u16::MAX))
}
