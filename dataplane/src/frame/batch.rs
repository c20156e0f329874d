//! A batch: up to 64 owned slots, each with room for a superframe.

use super::vnet_hdr::VnetHdr;
use std::io::IoSlice;
use std::ops::Range;

/// Most frames in one batch.
pub const BATCH: usize = 64;
/// Bytes kept free in front of a frame, for a `virtio_net_hdr` or a VLAN tag.
pub const HEADROOM: usize = 64;
/// Longest frame: 64 KiB of IP packet, an Ethernet header and two VLAN tags.
pub const MAX_FRAME: usize = 65_536 + 14 + 8;

/// Bytes of a TCP superframe's payload that a TAP is given beside its headers, so that what follows,
/// which begins a page of the kernel's, does not lie at the same place of its page as in the buffer
/// of whoever receives it: `rep movsb`, by which Linux copies where the processor has FSRM, takes 20
/// times as long where the target lies 1 to 63 bytes behind the source modulo 4,096 (tried on Zen 3),
/// and a buffer from malloc(3) begins 16 bytes into a page.
pub const BESIDE: usize = 126;
/// Where that begins, with and without timestamps.
const PAYLOADS: [usize; 2] = [66 + BESIDE, 54 + BESIDE];
const LINE: usize = 64;
const PAGE: usize = 4096;
/// Bytes of a buffer that no frame needs.
const BESIDES: usize = HEADROOM + 2 * LINE;

/// The first place from [`HEADROOM`] on, in a buffer at this address, where a frame is copied fast:
/// its headers and its payload begin a cache line, and what is copied to the beginning of a page not
/// just before one ends: see [`BESIDE`].
const fn room_at(addr: usize) -> u32 {
    let [usual, bare] = PAYLOADS;
    let line = (addr + HEADROOM + usual).next_multiple_of(LINE);
    let at = line - usual - addr;
    // At most two lines behind the headroom.
    match (addr + at + bare) % PAGE > PAGE - LINE {
        true => (at + LINE) as u32,
        false => at as u32,
    }
}

/// What stands for a frame that does not lie in its buffer, which none does. Out of line, so that
/// asking costs two comparisons and no more.
#[cold]
#[inline(never)]
fn never<'a>() -> &'a mut [u8] {
    &mut []
}

/// One frame that owns its bytes.
pub struct Frame {
    buf: Box<[u8]>,
    /// Where it begins when it has just been received.
    room: u32,
    /// The frame is `buf[start..start + len]`. Half words, whose sum can't overflow, so that to ask
    /// where it ends is to ask all.
    start: u32,
    len: u32,
    /// What its sender left undone.
    pub hdr: VnetHdr,
}

impl Default for Frame {
    fn default() -> Frame {
        Frame::with_capacity(MAX_FRAME)
    }
}

impl Frame {
    /// An empty frame that can take `capacity` bytes. Memory is zeroed lazily by the system.
    pub fn with_capacity(capacity: usize) -> Frame {
        let buf = vec![0; BESIDES + capacity].into_boxed_slice();
        let room = room_at(buf.as_ptr().addr());
        Frame {
            buf,
            room,
            start: room,
            len: 0,
            hdr: VnetHdr::PLAIN,
        }
    }

    /// A frame of just these bytes, with headroom.
    pub fn from_bytes(bytes: &[u8]) -> Frame {
        let mut f = Frame::with_capacity(bytes.len());
        f.fill(bytes, VnetHdr::PLAIN);
        f
    }

    /// The same with a header.
    pub fn with_hdr(bytes: &[u8], hdr: VnetHdr) -> Frame {
        let mut f = Frame::from_bytes(bytes);
        f.hdr = hdr;
        f
    }

    /// Replaces the content. Returns false, leaving the frame empty, when `bytes` doesn't fit.
    pub fn fill(&mut self, bytes: &[u8], hdr: VnetHdr) -> bool {
        self.fill_parts(&[IoSlice::new(bytes)], hdr)
    }

    /// The same with a frame in parts that stand one behind the other.
    pub fn fill_parts(&mut self, parts: &[IoSlice<'_>], hdr: VnetHdr) -> bool {
        self.set_received(0, hdr);
        let mut len = 0;
        for part in parts {
            let Some(room) = self.rx_room(0).get_mut(len..len + part.len()) else {
                return false;
            };
            room.copy_from_slice(part);
            len += part.len();
        }
        self.set_received(len, hdr);
        true
    }

    /// Bytes that the longest frame may have.
    fn capacity(&self) -> u32 {
        u32::try_from(self.buf.len() - BESIDES).unwrap_or(u32::MAX)
    }

    /// Where the frame is in its buffer.
    #[inline(always)]
    const fn place(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }

    /// The frame, from the first byte of the Ethernet header.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self.buf.get(self.place()) {
            Some(bytes) => bytes,
            None => never(),
        }
    }

    /// The frame, to be rewritten in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let place = self.place();
        match self.buf.get_mut(place) {
            Some(bytes) => bytes,
            None => never(),
        }
    }

    /// The frame, if it has `N` bytes at least.
    #[inline(always)]
    pub fn with_head<const N: usize>(&self) -> Option<&[u8]> {
        match self.len() >= N {
            true => self.buf.get(self.place()),
            false => None,
        }
    }

    /// Its first `N` bytes, to be rewritten in place; `None` where there are fewer.
    #[inline]
    pub fn head_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        let start = self.start as usize;
        // One comparison says that they are the frame's, the other that they lie in the buffer.
        match self.len() >= N {
            true => self.buf.get_mut(start..start + N)?.first_chunk_mut(),
            false => None,
        }
    }

    /// Bytes in the frame.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no frame in the slot.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Cuts the frame to `len` bytes; longer values change nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// The room for a device to read into: `prefix` bytes of headroom (below [`HEADROOM`]) and
    /// the frame behind them. Follow with [`Frame::set_received`].
    pub fn rx_room(&mut self, prefix: usize) -> &mut [u8] {
        let room = self.room as usize;
        let from = room - prefix.min(HEADROOM);
        let to = room + self.capacity() as usize;
        self.buf.get_mut(from..to).unwrap_or(&mut [])
    }

    /// Says that a frame of `len` bytes stands behind the headroom.
    pub fn set_received(&mut self, len: usize, hdr: VnetHdr) {
        self.start = self.room;
        self.len = self.capacity().min(u32::try_from(len).unwrap_or(u32::MAX));
        self.hdr = hdr;
    }

    /// Removes the 4-byte VLAN tag behind the two addresses, and moves the header's checksum
    /// offset with it. Nothing happens on a frame shorter than 18 bytes.
    pub fn pop_vlan(&mut self) {
        if self.len() < 18 {
            return;
        }
        self.bytes_mut().copy_within(0..12, 4);
        self.start += 4;
        self.len -= 4;
        self.hdr.csum_start = self.hdr.csum_start.saturating_sub(4);
        self.hdr.hdr_len = self.hdr.hdr_len.saturating_sub(4);
    }
}

impl Clone for Frame {
    fn clone(&self) -> Frame {
        Frame::with_hdr(self.bytes(), self.hdr)
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} bytes, {:?})", self.len(), self.hdr)
    }
}

/// A frame of more bytes ends its batch where it can't be joined with the next one: it is written at
/// once, while it is in the cache.
const LARGE: usize = 32 * 1024;

/// Frames read from one queue of one port, in order of arrival.
pub struct Batch {
    slots: Vec<Frame>,
    len: usize,
    bytes: usize,
    /// Whether superframes may be joined.
    joins: bool,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new(BATCH)
    }
}

impl Batch {
    /// `capacity` slots (at most [`BATCH`]) of [`MAX_FRAME`] bytes; untouched ones cost no memory.
    pub fn new(capacity: usize) -> Batch {
        Batch {
            slots: (0..capacity.clamp(1, BATCH))
                .map(|_| Frame::default())
                .collect(),
            len: 0,
            bytes: 0,
            joins: false,
        }
    }

    /// Forgets the frames.
    pub fn clear(&mut self) {
        self.len = 0;
        self.bytes = 0;
    }

    /// Whether superframes are to be read on behind each other, since whoever gets them takes several
    /// as one. From [`Batch::new`] on they are not.
    pub fn join_supers(&mut self, joins: bool) {
        self.joins = joins;
    }

    /// Whether they are.
    pub fn joins_supers(&self) -> bool {
        self.joins
    }

    /// Whether a reader whose frames are to stay within `budget` bytes and one frame goes on.
    pub fn takes_more(&self, budget: usize) -> bool {
        let ends = |f: &Frame| f.len() > LARGE && !self.joins;
        self.bytes <= budget && !self.frames().last().is_some_and(ends)
    }

    /// Frames in the batch.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes in the batch: a reader stops when they outgrow the cache.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether every slot is taken.
    pub fn is_full(&self) -> bool {
        self.len == self.slots.len()
    }

    /// The next free slot, for a device to read into. [`Batch::commit`] makes it count.
    pub fn next_slot(&mut self) -> Option<&mut Frame> {
        self.slots.get_mut(self.len)
    }

    /// Counts the slot that [`Batch::next_slot`] gave.
    pub fn commit(&mut self) {
        if let Some(f) = self.slots.get(self.len) {
            self.bytes += f.len();
            self.len += 1;
        }
    }

    /// Copies a frame in. False when the batch is full or the frame too long.
    pub fn push(&mut self, bytes: &[u8], hdr: VnetHdr) -> bool {
        let Some(slot) = self.next_slot() else {
            return false;
        };
        if !slot.fill(bytes, hdr) {
            return false;
        }
        self.commit();
        true
    }

    /// The frames.
    pub fn frames(&self) -> &[Frame] {
        self.slots.get(..self.len).unwrap_or(&[])
    }

    /// The frames, to be rewritten.
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        self.slots.get_mut(..self.len).unwrap_or(&mut [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_fills_and_refuses() {
        let mut b = Batch::new(2);
        assert!(b.push(&[1; 60], VnetHdr::PLAIN));
        assert!(!b.push(&vec![0; MAX_FRAME + 1], VnetHdr::PLAIN));
        assert!(b.push(&[2; 70], VnetHdr::PLAIN));
        assert!(b.is_full() && !b.push(&[3; 60], VnetHdr::PLAIN));
        assert_eq!((b.len(), b.bytes()), (2, 130));
        assert_eq!(b.frames()[1].bytes(), &[2; 70]);
    }

    #[test]
    fn a_superframe_ends_its_batch_unless_it_may_be_joined() {
        let mut b = Batch::default();
        for joins in [false, true] {
            b.join_supers(joins);
            b.clear();
            assert!(b.push(&[1; LARGE], VnetHdr::PLAIN) && b.takes_more(2 * LARGE));
            assert!(b.push(&[1; LARGE + 1], VnetHdr::PLAIN));
            assert!(!b.takes_more(2 * LARGE), "beyond the budget");
            assert_eq!(b.takes_more(2 * LARGE + 1), joins);
        }
    }

    #[test]
    fn payloads_lie_where_they_are_copied_fast() {
        for addr in (0..2 * PAGE).step_by(8) {
            let room = room_at(addr) as usize;
            assert!((HEADROOM..=BESIDES).contains(&room), "{addr}: {room}");
            assert_eq!((addr + room) % LINE, 0);
            assert_eq!((addr + room + PAYLOADS[0]) % LINE, 0);
            for payload in PAYLOADS {
                let before_a_page = PAGE - (addr + room + payload) % PAGE;
                assert!(before_a_page >= LINE, "{addr}: {before_a_page}");
            }
        }
        let mut f = Frame::default();
        assert_eq!(f.rx_room(0).as_ptr().addr() % LINE, 0);
    }

    #[test]
    fn vlan_tag_is_removed_in_place() {
        let mut bytes: Vec<u8> = (0..12).collect();
        bytes.extend([0x81, 0, 0, 0, 8, 0, 0x45]);
        let mut f = Frame::from_bytes(&bytes);
        f.hdr.csum_start = 38;
        f.pop_vlan();
        assert_eq!(
            f.bytes(),
            &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 8, 0, 0x45]
        );
        assert_eq!(f.hdr.csum_start, 34);
    }
}
