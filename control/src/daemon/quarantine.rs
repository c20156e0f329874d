//! Frames that made a worker panic, kept as captures beside the control socket.

use dataplane::base::Instant;
use dataplane::frame::Frame;
use dataplane::port::pcap::Writer;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most files of one directory: enough to find the cause, too few to fill a disk.
const MOST: u32 = 16;

/// Writes `frame` of the port `name` to `switchd-panic-N.pcapng` in `dir`, the first N that is
/// free. `None` when there are [`MOST`] already.
///
/// # Errors
/// The directory or the file can't be written.
pub(super) fn keep(dir: &Path, name: &str, frame: &Frame) -> io::Result<Option<PathBuf>> {
    for n in 0..MOST {
        let path = dir.join(format!("switchd-panic-{n}.pcapng"));
        // Frames are other people's traffic: for the owner's eyes, and never over another file.
        let file = match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
        {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        write(&mut bytes, name, frame).map_err(io::Error::other)?;
        (&file).write_all(&bytes)?;
        return Ok(Some(path));
    }
    Ok(None)
}

fn write(
    to: &mut Vec<u8>,
    name: &str,
    frame: &Frame,
) -> Result<(), dataplane::port::pcap::CaptureError> {
    let mut w = Writer::new(to)?;
    let interface = w.add_interface(name)?;
    w.write(
        interface,
        Instant::ZERO,
        &frame.hdr,
        &[io::IoSlice::new(frame.bytes())],
    )?;
    w.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::frame::VnetHdr;
    use dataplane::port::pcap::Reader;

    #[test]
    fn a_frame_is_kept_whole_and_only_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let hdr = VnetHdr {
            needs_csum: true,
            csum_start: 34,
            csum_offset: 16,
            ..VnetHdr::PLAIN
        };
        let frame = Frame::with_hdr(&[7; 60], hdr);
        for n in 0..MOST {
            let path = keep(dir.path(), "eth0@web", &frame).unwrap().unwrap();
            assert!(path.ends_with(format!("switchd-panic-{n}.pcapng")));
            let mut read = Reader::new(std::fs::File::open(path).unwrap()).unwrap();
            let record = read.next().unwrap().unwrap();
            assert_eq!((&record.bytes[..], record.hdr), (frame.bytes(), Some(hdr)));
            assert_eq!(read.interface_names(), ["eth0@web"]);
        }
        assert_eq!(keep(dir.path(), "eth0@web", &frame).unwrap(), None);
        assert!(keep(Path::new("/nonexistent"), "x", &frame).is_err());
    }
}
