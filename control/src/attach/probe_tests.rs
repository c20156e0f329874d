use super::*;
use crate::netns::tests::new_netns;
use std::cell::RefCell;

#[test]
fn this_kernel_passes() {
    if new_netns().is_none() {
        return;
    }
    let t = trial(tap::Offload::AUTO).unwrap();
    t.tcp.unwrap();
    t.udp.unwrap();
    assert!(t.supers.big > 0, "no superframes beyond 64 KiB");
    assert!(t.supers.tcp > 0 && t.supers.tcp < (STREAM / 1448) as u32);
    let started = std::time::Instant::now();
    let f = probe(tap::Offload::AUTO);
    eprintln!("{f:?} in {:?}", started.elapsed());
    assert_eq!((f.offload, f.notes.len()), (tap::Offload::AUTO, 0));
    let plain = trial(tap::Offload::NONE).unwrap();
    assert_eq!((plain.supers.tcp, plain.supers.udp), (0, 0));
    plain.tcp.unwrap();
    plain.udp.unwrap();
}

#[test]
fn what_fails_is_left_out() {
    let bad = || Err(io::Error::other("bad"));
    let asked = RefCell::new(0);
    let seen = Supers {
        big: 1,
        ..Supers::default()
    };
    // Kernels that break: nothing, USO, TSO, all superframes, partial checksums.
    let with = |breaks: fn(tap::Offload) -> (bool, bool)| {
        *asked.borrow_mut() = 0;
        judge(tap::Offload::AUTO, &|o| {
            *asked.borrow_mut() += 1;
            let (tcp, udp) = breaks(o);
            Ok(Trial {
                tcp: if tcp { bad() } else { Ok(()) },
                udp: if udp { bad() } else { Ok(()) },
                supers: seen,
            })
        })
    };
    let without = tap::Offload {
        big: false,
        ..tap::Offload::AUTO
    };
    let csum = tap::Offload {
        csum: true,
        ..tap::Offload::NONE
    };
    assert_eq!(with(|_| (false, false)).offload, tap::Offload::AUTO);
    let no_uso = tap::Offload {
        uso: false,
        ..tap::Offload::AUTO
    };
    let f = with(|o| (o.big, false));
    assert_eq!((f.offload, f.notes.len()), (without, 1));
    let f = with(|o| (false, o.uso));
    assert_eq!((f.offload, f.notes.len()), (no_uso, 1));
    assert_eq!(with(|o| (o.tso, false)).offload, csum);
    assert_eq!(with(|o| (o.csum, false)).offload, tap::Offload::NONE);
    assert_eq!(*asked.borrow(), 4);
    let f = with(|_| (true, true));
    assert_eq!((f.offload, f.notes.len()), (tap::Offload::AUTO, 1));
    assert!(f.notes[0].contains("plain frames fail too (bad)"), "{f:?}");
    // A machine that stood still once is asked again, and believed then.
    let times = RefCell::new(0);
    let f = judge(tap::Offload::AUTO, &|_| {
        *times.borrow_mut() += 1;
        let late = Err(ErrorKind::WouldBlock.into());
        Ok(Trial {
            tcp: if *times.borrow() == 1 { late } else { Ok(()) },
            udp: Ok(()),
            supers: seen,
        })
    });
    assert_eq!((f.offload, f.notes.len()), (tap::Offload::AUTO, 0));
    // Old kernels: they are asked twice, since frames may only have come too slowly to be joined.
    *times.borrow_mut() = 0;
    let f = judge(tap::Offload::AUTO, &|_| {
        *times.borrow_mut() += 1;
        Ok(Trial {
            tcp: Ok(()),
            udp: Ok(()),
            supers: Supers::default(),
        })
    });
    assert_eq!((f.offload, f.notes.len()), (without, 1));
    assert_eq!(*times.borrow(), 3);
    let f = judge(tap::Offload::AUTO, &|_| Err("not permitted".into()));
    assert_eq!(f.offload, tap::Offload::AUTO);
    assert!(f.notes[0].ends_with("not tested: not permitted"));
}
