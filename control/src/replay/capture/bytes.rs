//! Taking numbers off the front of a slice, in the byte order of the file.

/// What is left of a block.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub left: &'a [u8],
    pub big: bool,
}

impl<'a> Bytes<'a> {
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.left.split_at_checked(n)?;
        self.left = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u16(&mut self) -> Option<u16> {
        let a = self.array()?;
        Some(if self.big {
            u16::from_be_bytes(a)
        } else {
            u16::from_le_bytes(a)
        })
    }

    pub fn u32(&mut self) -> Option<u32> {
        let a = self.array()?;
        Some(if self.big {
            u32::from_be_bytes(a)
        } else {
            u32::from_le_bytes(a)
        })
    }

    pub fn u64(&mut self) -> Option<u64> {
        let a = self.array()?;
        Some(if self.big {
            u64::from_be_bytes(a)
        } else {
            u64::from_le_bytes(a)
        })
    }

    /// A length in bytes and that many bytes, padded to a multiple of four. The padding may be
    /// missing at the very end.
    pub fn padded(&mut self, n: usize) -> Option<&'a [u8]> {
        let data = self.take(n)?;
        let pad = n.wrapping_neg() % 4;
        self.left = self.left.get(pad..).unwrap_or(&[]);
        Some(data)
    }
}
