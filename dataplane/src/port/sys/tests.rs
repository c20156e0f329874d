//! The facts about the kernel that `tap.rs` rests on, in a network namespace of each test's own.

use super::tap::{self, Offload};
use super::{TapError, ioctl, tap_plain};
use crate::frame::{Batch, Gso, VnetHdr};
use crate::port::{Caps, PortQueue, SendError};
use std::io::IoSlice;
use std::os::fd::AsRawFd;

/// Runs `f` on a thread that is alone in a new network namespace. Says so loudly when that is not
/// permitted, and fails then where `CI` is set.
pub(super) fn in_new_netns(f: impl FnOnce() + Send + 'static) {
    let permitted = std::thread::spawn(|| {
        // SAFETY: the thread shares no descriptor or memory state that a new network namespace
        // would change under another thread.
        let made =
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET).is_ok() };
        let made = made && ioctl::open().is_ok();
        if made {
            f();
        }
        made
    })
    .join()
    .expect("the test's thread");
    if !permitted {
        assert!(std::env::var_os("CI").is_none(), "CI needs root and tun");
        eprintln!("SKIPPED: needs CAP_SYS_ADMIN, CAP_NET_ADMIN and /dev/net/tun");
    }
}

/// `SIOCSIFFLAGS` with IFF_UP set or not.
pub(super) fn set_up(name: &str, up: bool) {
    let s = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // SAFETY: ifreq is plain old data; the call reads one.
    let r = unsafe {
        let mut req: libc::ifreq = std::mem::zeroed();
        for (to, from) in req.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        req.ifr_ifru.ifru_flags = if up { libc::IFF_UP as i16 } else { 0 };
        libc::ioctl(s.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const req)
    };
    assert_eq!(r, 0, "{}", std::io::Error::last_os_error());
}

fn bind_to_device(s: &std::net::UdpSocket, name: &str) {
    // SAFETY: the option's value is a string of the given length that outlives the call.
    let r = unsafe {
        libc::setsockopt(
            s.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            name.len() as libc::socklen_t,
        )
    };
    assert_eq!(r, 0, "{}", std::io::Error::last_os_error());
}

/// A broadcast IPv4 frame to nobody, `payload` bytes behind the Ethernet header.
fn frame(payload: usize) -> Vec<u8> {
    let mut f = vec![0xff; 6];
    f.extend([2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0]);
    f.extend(u16::try_from(payload).unwrap().to_be_bytes());
    f.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    f.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10]);
    f.resize(14 + payload, 0);
    f
}

#[test]
fn offloads_are_negotiated() {
    in_new_netns(|| {
        let t = tap::create("t%d", 2, Offload::AUTO).unwrap();
        assert_eq!((t.name.as_str(), t.queues.len()), ("t0", 2));
        assert!(t.caps.csum && t.caps.tso4 && t.caps.tso6, "{:?}", t.caps);
        assert!(t.queues.iter().all(|q| q.caps() == t.caps));
        let none = tap::create("none", 1, Offload::NONE).unwrap();
        assert_eq!(none.caps, Caps::NONE);
        let no_uso = Offload {
            uso: false,
            ..Offload::AUTO
        };
        assert!(!tap::create("nouso", 1, no_uso).unwrap().caps.uso);
        let no_csum = Offload {
            csum: false,
            ..Offload::AUTO
        };
        assert_eq!(tap::create("nocsum", 1, no_csum).unwrap().caps, Caps::NONE);
    });
}

#[test]
fn names_are_never_shared() {
    in_new_netns(|| {
        let _held = tap::create("taken", 2, Offload::AUTO).unwrap();
        for name in ["taken", "lo"] {
            let e = tap::create(name, 1, Offload::AUTO).unwrap_err();
            assert!(matches!(e, TapError::Exists(_)), "{name}: {e}");
            let e = tap_plain::create(name, 1).err().unwrap();
            assert!(matches!(e, TapError::Exists(_)), "{name}: {e}");
        }
        for name in ["", "sixteen-bytes-xx", "a/b", "a b", "..", "a:b"] {
            let e = tap::create(name, 1, Offload::AUTO).unwrap_err();
            assert!(matches!(e, TapError::BadName(_)), "{name}: {e}");
        }
    });
}

#[test]
fn down_costs_a_frame_not_the_port() {
    in_new_netns(|| {
        let mut t = tap::create("t0", 1, Offload::AUTO).unwrap();
        let q = &mut t.queues[0];
        let mut b = Batch::new(8);
        assert!(!q.recv(&mut b, usize::MAX).unwrap() && b.is_empty());
        let f = frame(100);
        match q.send(&VnetHdr::PLAIN, &[IoSlice::new(&f)]) {
            Err(SendError::Io(e)) => assert_eq!(e.raw_os_error(), Some(libc::EIO)),
            other => panic!("{other:?}"),
        }
        set_up("t0", true);
        let (a, c) = f.split_at(14);
        q.send(&VnetHdr::PLAIN, &[IoSlice::new(a), IoSlice::new(c)])
            .unwrap();
    });
}

#[test]
fn superframes_are_taken_and_nonsense_is_refused() {
    in_new_netns(|| {
        let mut t = tap::create("t0", 1, Offload::AUTO).unwrap();
        set_up("t0", true);
        let q = &mut t.queues[0];
        let f = frame(60_000);
        let hdr = VnetHdr {
            needs_csum: true,
            gso: Gso::TcpV4,
            hdr_len: 54,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
            ..VnetHdr::PLAIN
        };
        q.send(&hdr, &[IoSlice::new(&f)]).unwrap();
        // Of many parts, as the coalescing stage writes it.
        let parts: Vec<IoSlice<'_>> = f.chunks(1000).map(IoSlice::new).collect();
        assert!(parts.len() > super::write::FEW);
        q.send(&hdr, &parts).unwrap();
        let behind = VnetHdr {
            csum_start: 0xfff0,
            ..hdr
        };
        let r = q.send(&behind, &[IoSlice::new(&f)]);
        assert!(matches!(r, Err(SendError::Refused)), "{r:?}");
        let r = q.send(&VnetHdr::PLAIN, &[IoSlice::new(&f[..8])]);
        assert!(matches!(r, Err(SendError::Refused)), "{r:?}");
    });
}

/// What the kernel says when an interface comes up (IPv6 multicast reports) is read whole, and
/// the batch's limits hold.
#[test]
fn reads_stop_at_the_batch_and_the_budget() {
    in_new_netns(|| {
        for plain in [false, true] {
            let mut queues = match plain {
                false => tap::create("t0", 1, Offload::AUTO).unwrap().into_queues(),
                true => tap_plain::create("t0", 2).unwrap().queues,
            };
            set_up("t0", true);
            let udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            udp.set_broadcast(true).unwrap();
            // A limited broadcast needs a route: bind to the device instead.
            bind_to_device(&udp, "t0");
            // No address on the interface: the source is 0.0.0.0, as in DHCP.
            for n in 0..5u8 {
                udp.send_to(&[n; 200], "255.255.255.255:9").unwrap();
            }
            let mut b = Batch::new(3);
            let mut payloads = Vec::new();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
            while payloads.len() < 5 && std::time::Instant::now() < deadline {
                b.clear();
                let more = queues[0].recv(&mut b, usize::MAX).unwrap();
                assert_eq!(more, b.is_full());
                payloads.extend(b.frames().iter().filter_map(|f| {
                    let udp = f.bytes().get(12..14) == Some(&[8, 0]);
                    udp.then(|| f.bytes()[42])
                }));
            }
            assert_eq!(payloads, [0, 1, 2, 3, 4], "plain: {plain}");

            udp.send_to(&[7; 200], "255.255.255.255:9").unwrap();
            udp.send_to(&[8; 200], "255.255.255.255:9").unwrap();
            b.clear();
            assert!(queues[0].recv(&mut b, 0).unwrap());
            assert_eq!(b.len(), 1, "one frame is over a budget of nothing");
            if let [_, writer] = &mut queues[..] {
                b.clear();
                assert!(writer.poll_fd().is_none());
                assert!(!writer.recv(&mut b, usize::MAX).unwrap() && b.is_empty());
                let f = frame(100);
                let (a, c) = f.split_at(30);
                writer
                    .send(&VnetHdr::PLAIN, &[IoSlice::new(a), IoSlice::new(c)])
                    .unwrap();
                let csum = VnetHdr {
                    needs_csum: true,
                    ..VnetHdr::PLAIN
                };
                let r = writer.send(&csum, &[IoSlice::new(&f)]);
                assert!(matches!(r, Err(SendError::Refused)), "{r:?}");
            }
        }
    });
}

#[test]
fn errors_say_what_to_do() {
    use rustix::io::Errno;
    let text = |e: TapError| e.to_string();
    assert!(text(ioctl::open_error(Errno::NOENT)).contains("modprobe tun"));
    assert!(text(ioctl::open_error(Errno::ACCESS)).contains("run as root"));
    let eperm = std::io::Error::from_raw_os_error(libc::EPERM);
    assert!(text(tap::iff_error("x", eperm)).contains("CAP_NET_ADMIN"));
}

#[test]
fn the_kernel_is_quiet_about_ports_of_one_interface() {
    use std::io::ErrorKind;
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
    in_new_netns(|| {
        set_up("lo", true);
        let here = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut quiet = match super::lookup::Quiet::new(1, &here) {
            Ok(q) => q,
            Err(e) => {
                eprintln!("SKIPPED: no sk_lookup here: {e}");
                return;
            }
        };
        let tcp = |port: u16| {
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            let wait = std::time::Duration::from_millis(100);
            TcpStream::connect_timeout(&to, wait)
                .map(drop)
                .map_err(|e| e.kind())
        };
        let udp = |port: u16| {
            let s = UdpSocket::bind("127.0.0.1:0").unwrap();
            s.connect(("127.0.0.1", port)).unwrap();
            s.set_read_timeout(Some(std::time::Duration::from_millis(100)))
                .unwrap();
            s.send(b"x").unwrap();
            s.recv(&mut [0; 9]).map(drop).map_err(|e| e.kind())
        };
        let (refused, silent) = (Err(ErrorKind::ConnectionRefused), Err(ErrorKind::TimedOut));
        quiet
            .set(crate::base::Proto::TCP, 5_000, 60_000, true)
            .unwrap();
        quiet.set(crate::base::Proto::UDP, 77, 77, true).unwrap();
        for (port, wanted) in [
            (4_999, refused),
            (5_000, silent),
            (33_333, silent),
            (60_000, silent),
            (60_001, refused),
            (77, refused),
        ] {
            assert_eq!(tcp(port), wanted, "tcp {port}");
        }
        assert_eq!(udp(77), Err(ErrorKind::WouldBlock));
        assert_eq!([udp(76), udp(78), udp(5_000)], [refused; 3]);
        // A service there is not heard either, until the port is let go.
        let service = TcpListener::bind("127.0.0.1:6000").unwrap();
        assert_eq!(tcp(6_000), silent);
        quiet
            .set(crate::base::Proto::TCP, 6_000, 6_000, false)
            .unwrap();
        assert_eq!([tcp(6_000), tcp(5_999)], [Ok(()), silent]);
        drop(quiet);
        assert_eq!(tcp(5_999), refused);
        drop(service);
    });
}

#[test]
fn a_packet_socket_shares_an_interface_and_counts_what_it_missed() {
    use super::packet;
    use crate::port::filter::{not_from, nothing};
    in_new_netns(|| {
        let mut tap = tap::create("t0", 1, Offload::AUTO)
            .unwrap()
            .queues
            .remove(0);
        set_up("t0", true);
        // SAFETY: a string that ends in a zero byte.
        let index = unsafe { libc::if_nametoindex(c"t0".as_ptr()) };
        let (mut queues, filter) = match packet::open(index, 1, &not_from(0)) {
            Ok(opened) => opened,
            Err(e) => panic!("{e}"),
        };
        let mut queue = queues.remove(0);
        let (frame, mut batch) = (frame(60), Batch::default());
        let mut drain = |queue: &mut Box<dyn PortQueue>| {
            let (mut got, mut lost) = (0, 0);
            loop {
                batch.clear();
                let more = queue.recv(&mut batch, usize::MAX).unwrap();
                assert!(batch.frames().iter().all(|f| f.bytes() == frame));
                got += batch.len() as u64;
                lost += queue.lost();
                if !more {
                    return (got, lost);
                }
            }
        };
        let mut arrive = |n| {
            for _ in 0..n {
                tap.send(&VnetHdr::PLAIN, &[IoSlice::new(&frame)]).unwrap();
            }
        };
        arrive(3);
        assert_eq!(drain(&mut queue), (3, 0));
        // More than its buffer holds.
        arrive(100_000);
        let (got, lost) = drain(&mut queue);
        assert!(got > 0 && lost > 0, "{got} read, {lost} lost");
        assert_eq!(got + lost, 100_000);
        // An interface that is down is empty, and goes on when it is up.
        set_up("t0", false);
        assert_eq!(drain(&mut queue), (0, 0));
        let sent = queue.send(&VnetHdr::PLAIN, &[IoSlice::new(&frame)]);
        assert!(matches!(sent, Err(SendError::Io(_))), "{sent:?}");
        set_up("t0", true);
        arrive(1);
        assert_eq!(drain(&mut queue), (1, 0));
        filter.set(&nothing()).unwrap();
        arrive(1);
        assert_eq!(drain(&mut queue), (0, 0));
        assert!(matches!(
            packet::open(9_999, 1, &nothing()),
            Err(packet::PacketError::Gone)
        ));
    });
}

/// A frame of a connected socket waits in one of the lanes behind the first, by its flow; what has
/// no hash in the first.
#[test]
fn flows_are_spread_over_lanes() {
    in_new_netns(|| {
        let mut t = tap::create_lanes("t0", Offload::NONE).unwrap();
        assert_eq!(t.queues.len(), 1, "one worker's");
        let q = &mut t.queues[0];
        if q.lanes() == 1 {
            assert!(std::env::var_os("CI").is_none(), "CI needs CAP_BPF");
            eprintln!("SKIPPED: the kernel lets nobody choose queues without CAP_BPF");
            return;
        }
        assert_eq!(q.lanes(), tap::LANES);
        let fds: std::collections::HashSet<_> = (0..q.lanes()).map(|n| q.lane_fd(n)).collect();
        assert_eq!(fds.len(), 8);
        assert!(!fds.contains(&None) && q.lane_fd(8).is_none());
        set_up("t0", true);
        let socket = |connected: bool| {
            let s = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            s.set_broadcast(true).unwrap();
            bind_to_device(&s, "t0");
            if connected {
                s.connect("255.255.255.255:9").unwrap();
            }
            s
        };
        let flows: Vec<_> = (0..64).map(|_| socket(true)).collect();
        let loose = socket(false);
        for n in 0..3 {
            for s in &flows {
                s.send(&[n; 1]).unwrap();
            }
            loose.send_to(&[n; 1], "255.255.255.255:9").unwrap();
        }
        // Source port, and the datagram's only byte, of all that waits in a lane.
        let mut ours = |lane| {
            let mut b = Batch::new(256);
            assert!(!q.recv_lane(lane, &mut b, usize::MAX).unwrap());
            let frames = b.frames().iter().map(|f| f.bytes().to_vec());
            frames
                .filter(|f| f.get(12..14) == Some(&[8, 0]) && f.get(23) == Some(&17))
                .map(|f| (u16::from_be_bytes([f[34], f[35]]), f[42]))
                .collect::<Vec<_>>()
        };
        let port = loose.local_addr().unwrap().port();
        assert_eq!(ours(0), [(port, 0), (port, 1), (port, 2)]);
        let lanes: Vec<_> = (1..8).map(ours).filter(|seen| !seen.is_empty()).collect();
        assert!(lanes.len() > 3, "64 flows in {} lanes", lanes.len());
        let mut seen = std::collections::HashMap::<u16, Vec<u8>>::new();
        for lane in &lanes {
            let before = seen.clone();
            for &(port, n) in lane {
                assert!(!before.contains_key(&port), "a flow in two lanes");
                seen.entry(port).or_default().push(n);
            }
        }
        assert_eq!(seen.len(), 64);
        assert!(seen.values().all(|n| n == &[0, 1, 2]), "in order");
    });
}
