//! A port that replays a capture and records what is sent, in virtual time: a frame is received
//! when the time that its driver set has reached its timestamp.

use super::pcap::{CaptureError, Reader, Record, Writer};
use super::pcap_hdr::infer_hdr;
use super::segment::takes;
use super::{Caps, PortQueue, RecvError, SendError};
use crate::base::Instant;
use crate::frame::{Batch, VnetHdr};
use std::io::{IoSlice, Read, Write};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A capture file that several ports write to. Clones are the same file.
pub struct Recorder<W: Write>(Arc<Mutex<Writer<W>>>);

impl<W: Write> Clone for Recorder<W> {
    fn clone(&self) -> Recorder<W> {
        Recorder(Arc::clone(&self.0))
    }
}

impl<W: Write> Recorder<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(to: W) -> Result<Recorder<W>, CaptureError> {
        Ok(Recorder(Arc::new(Mutex::new(Writer::new(to)?))))
    }

    /// The writer, for one use.
    pub fn lock(&self) -> MutexGuard<'_, Writer<W>> {
        lock(&self.0)
    }

    /// The writer beneath, once no port uses it any more.
    pub fn into_inner(self) -> Option<W> {
        let writer = Arc::into_inner(self.0)?.into_inner();
        Some(writer.unwrap_or_else(PoisonError::into_inner).into_inner())
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

struct State {
    source: Option<Box<dyn Iterator<Item = Result<Record, CaptureError>> + Send>>,
    /// The next record, read ahead.
    next: Option<Record>,
    error: Option<CaptureError>,
    caps: Caps,
    mtu: usize,
    now: Instant,
    read: u64,
    cut: u64,
    too_long: u64,
}

impl State {
    fn read_ahead(&mut self) {
        if self.next.is_some() {
            return;
        }
        match self.source.as_mut().and_then(Iterator::next) {
            Some(Ok(r)) => self.next = Some(r),
            Some(Err(e)) => {
                self.error = Some(e);
                self.source = None;
            }
            None => self.source = None,
        }
    }
}

/// The driver's end of a port that replays and records. Clones are the same port.
#[derive(Clone)]
pub struct PcapPort {
    state: Arc<Mutex<State>>,
}

impl PcapPort {
    /// A port that receives what `replay` holds (all interfaces in one; `None`: nothing) and
    /// writes what it is sent to `record` under an interface `name`. Frames without a header
    /// beside them get the one that [`infer_hdr`] finds with this `mtu`.
    ///
    /// # Errors
    /// What the recorder's writer says.
    pub fn new<R, W>(
        name: &str,
        replay: Option<Reader<R>>,
        record: Option<&Recorder<W>>,
        caps: Caps,
        mtu: usize,
    ) -> Result<(PcapPort, Box<dyn PortQueue>), CaptureError>
    where
        R: Read + Send + 'static,
        W: Write + Send + 'static,
    {
        let source = replay.map(|r| Box::new(r) as Box<_>);
        let record = match record {
            Some(r) => {
                let id = r.lock().add_interface(name)?;
                Some((r.clone(), id))
            }
            None => None,
        };
        let state = Arc::new(Mutex::new(State {
            source,
            next: None,
            error: None,
            caps,
            mtu,
            now: Instant::ZERO,
            read: 0,
            cut: 0,
            too_long: 0,
        }));
        let port = PcapPort {
            state: Arc::clone(&state),
        };
        Ok((port, Box::new(PcapQueue { state, record })))
    }

    /// The timestamp of the next frame; `None` when the replay is over.
    pub fn next_at(&self) -> Option<Instant> {
        let mut s = lock(&self.state);
        s.read_ahead();
        s.next.as_ref().map(|r| r.at)
    }

    /// Sets the time: frames up to it can be received, and what is sent is recorded with it.
    pub fn set_now(&self, now: Instant) {
        lock(&self.state).now = now;
    }

    /// Frames received from the replay so far.
    pub fn frames_read(&self) -> u64 {
        lock(&self.state).read
    }

    /// How many of those were cut short by the capture.
    pub fn frames_cut(&self) -> u64 {
        lock(&self.state).cut
    }

    /// Packets of the capture that no slot can hold, left out.
    pub fn frames_too_long(&self) -> u64 {
        lock(&self.state).too_long
    }

    /// Why the replay ended before the capture's end.
    pub fn take_error(&self) -> Option<CaptureError> {
        lock(&self.state).error.take()
    }
}

struct PcapQueue<W: Write> {
    state: Arc<Mutex<State>>,
    record: Option<(Recorder<W>, u32)>,
}

impl<W: Write + Send> PortQueue for PcapQueue<W> {
    fn caps(&self) -> Caps {
        lock(&self.state).caps
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        let mut s = lock(&self.state);
        loop {
            s.read_ahead();
            let now = s.now;
            let Some(r) = s.next.take_if(|r| r.at <= now) else {
                return Ok(false);
            };
            if batch.is_full() || batch.bytes() > budget {
                s.next = Some(r);
                return Ok(true);
            }
            let hdr = r.hdr.unwrap_or_else(|| infer_hdr(&r.bytes, s.mtu));
            if batch.push(&r.bytes, hdr) {
                s.read += 1;
                s.cut += u64::from(r.is_cut());
            } else {
                s.too_long += 1;
            }
        }
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        let (caps, now) = {
            let s = lock(&self.state);
            (s.caps, s.now)
        };
        if !takes(caps, hdr) {
            return Err(SendError::Refused);
        }
        let Some((to, id)) = &self.record else {
            return Ok(());
        };
        to.lock().write(*id, now, hdr, parts).map_err(|e| match e {
            CaptureError::Io(e) => SendError::Io(e),
            other => SendError::Io(std::io::Error::other(other.to_string())),
        })
    }

    fn poll_fd(&self) -> Option<RawFd> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;

    type Bytes = std::io::Cursor<Vec<u8>>;

    fn capture(frames: &[(u64, &[u8])]) -> Vec<u8> {
        let mut w = Writer::new(Vec::new()).unwrap();
        let id = w.add_interface("in").unwrap();
        for (ms, b) in frames {
            let at = Instant::from_millis(*ms);
            w.write(id, at, &VnetHdr::PLAIN, &[IoSlice::new(b)])
                .unwrap();
        }
        w.into_inner()
    }

    #[test]
    fn replays_in_time_and_records() {
        let file = capture(&[(1, &[1; 60]), (2, &[2; 60]), (9, &[3; 60])]);
        let reader = Reader::new(Bytes::new(file)).unwrap();
        let rec = Recorder::new(Vec::new()).unwrap();
        let (port, mut q) = PcapPort::new("a", Some(reader), Some(&rec), Caps::NONE, 1500).unwrap();
        let mut batch = Batch::new(1);
        assert!(!q.recv(&mut batch, 9999).unwrap() && batch.is_empty());
        assert_eq!(port.next_at(), Some(Instant::from_millis(1)));
        port.set_now(Instant::from_millis(5));
        assert!(q.recv(&mut batch, 9999).unwrap());
        let first = Frame::clone(&batch.frames()[0]);
        assert_eq!(first.bytes(), &[1; 60]);
        q.send(
            &first.hdr,
            &[
                IoSlice::new(&first.bytes()[..20]),
                IoSlice::new(&first.bytes()[20..]),
            ],
        )
        .unwrap();
        batch.clear();
        assert!(!q.recv(&mut batch, 9999).unwrap());
        assert_eq!(batch.frames()[0].bytes(), &[2; 60]);
        assert_eq!(port.next_at(), Some(Instant::from_millis(9)));
        port.set_now(Instant::from_millis(9));
        batch.clear();
        q.recv(&mut batch, 9999).unwrap();
        assert_eq!((port.next_at(), port.frames_read()), (None, 3));
        assert!(port.take_error().is_none());
        drop(q);
        let out = rec.into_inner().unwrap();
        let got: Vec<_> = Reader::new(&out[..]).unwrap().map(Result::unwrap).collect();
        assert_eq!(got.len(), 1);
        assert_eq!(
            (got[0].at, &got[0].bytes),
            (Instant::from_millis(5), &vec![1; 60])
        );
    }

    #[test]
    fn a_broken_capture_ends_the_replay_with_its_error() {
        let mut file = capture(&[(1, &[1; 60]), (2, &[2; 60])]);
        file.truncate(file.len() - 3);
        let reader = Reader::new(Bytes::new(file)).unwrap();
        let (port, mut q) =
            PcapPort::new::<_, Vec<u8>>("a", Some(reader), None, Caps::ALL, 1500).unwrap();
        port.set_now(Instant::from_secs(1));
        let mut batch = Batch::default();
        assert!(!q.recv(&mut batch, 9999).unwrap());
        assert_eq!(batch.len(), 1);
        assert!(matches!(port.take_error(), Some(CaptureError::Truncated)));
    }
}
