//! Numbers in bytes, big-endian as protocols have them. None of these panics.

/// The `N` bytes at `at`; `None` beyond the end.
#[inline]
pub fn get<const N: usize>(b: &[u8], at: usize) -> Option<[u8; N]> {
    b.get(at..)?.first_chunk().copied()
}

/// Two bytes; `None` beyond the end.
#[inline]
pub fn get16(b: &[u8], at: usize) -> Option<u16> {
    get(b, at).map(u16::from_be_bytes)
}

/// Two bytes; 0 beyond the end.
#[inline]
pub fn be16(b: &[u8], at: usize) -> u16 {
    get16(b, at).unwrap_or(0)
}

/// Four bytes; those beyond the end are 0, two by two.
#[inline]
pub fn be32(b: &[u8], at: usize) -> u32 {
    if let Some(whole) = get(b, at) {
        return u32::from_be_bytes(whole);
    }
    (u32::from(be16(b, at)) << 16) | u32::from(be16(b, at.saturating_add(2)))
}

/// A byte; 0 beyond the end.
#[inline]
pub fn byte(b: &[u8], at: usize) -> u8 {
    b.get(at).copied().unwrap_or(0)
}

/// Writes `v` at `at`; `None`, and nothing written, beyond the end.
#[inline]
pub fn put<const N: usize>(b: &mut [u8], at: usize, v: [u8; N]) -> Option<()> {
    *b.get_mut(at..)?.first_chunk_mut()? = v;
    Some(())
}

/// Writes two bytes; nothing happens beyond the end.
#[inline]
pub fn put16(b: &mut [u8], at: usize, v: u16) {
    put(b, at, v.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_inside_and_does_nothing_beyond() {
        let mut b = [1, 2, 3, 4, 5];
        assert_eq!((get16(&b, 3), get16(&b, 4)), (Some(0x0405), None));
        assert_eq!((be16(&b, 0), be16(&b, usize::MAX)), (0x0102, 0));
        assert_eq!((be32(&b, 1), be32(&b, 2)), (0x0203_0405, 0x0304_0000));
        assert_eq!((byte(&b, 4), byte(&b, 5)), (5, 0));
        assert_eq!(put(&mut b, 3, [9; 3]), None);
        put16(&mut b, 4, 0x0909);
        put16(&mut b, usize::MAX, 0x0909);
        assert_eq!(b, [1, 2, 3, 4, 5]);
        assert_eq!(put(&mut b, 2, [9; 3]), Some(()));
        assert_eq!(b, [1, 2, 9, 9, 9]);
    }
}
