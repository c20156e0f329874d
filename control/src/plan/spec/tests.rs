use super::scalar::Offload;
use super::*;
use dataplane::base::{Mac, Proto};
use dataplane::nat::Publication;
use dataplane::port::sys::tap;
use proptest::prelude::*;
use std::time::Duration;

fn ip(s: &str) -> Ipv4Addr {
    s.parse().unwrap()
}

fn says(e: SpecError, parts: &[&str]) {
    let text = e.to_string();
    for p in parts {
        assert!(text.contains(p), "'{text}' does not say '{p}'");
    }
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn publications() {
    let p = |proto, host_ip: Option<&str>, first, last, ip: &str, port| Publication {
        proto,
        host_ip: host_ip.map(|h| h.parse().unwrap()),
        first,
        last,
        ip: ip.parse().unwrap(),
        port,
    };
    for (text, want) in [
        (
            "5000:10.0.0.2:5000",
            p(Proto::TCP, None, 5000, 5000, "10.0.0.2", 5000),
        ),
        (
            "80:10.0.0.2:8080/tcp",
            p(Proto::TCP, None, 80, 80, "10.0.0.2", 8080),
        ),
        (
            "53:10.0.0.3:53/udp",
            p(Proto::UDP, None, 53, 53, "10.0.0.3", 53),
        ),
        (
            "6000-6010:10.0.0.2:7000-7010/udp",
            p(Proto::UDP, None, 6000, 6010, "10.0.0.2", 7000),
        ),
        (
            "127.0.0.1:80:10.0.0.2:80",
            p(Proto::TCP, Some("127.0.0.1"), 80, 80, "10.0.0.2", 80),
        ),
        (
            "0.0.0.0:80:10.0.0.2:80",
            p(Proto::TCP, None, 80, 80, "10.0.0.2", 80),
        ),
        (
            "1-65535:10.0.0.2:1-65535",
            p(Proto::TCP, None, 1, 65535, "10.0.0.2", 1),
        ),
        (
            "80-80:10.0.0.2:80",
            p(Proto::TCP, None, 80, 80, "10.0.0.2", 80),
        ),
    ] {
        let got = publication::parse(text).unwrap();
        assert_eq!(got, want, "{text}");
        assert_eq!(publication::parse(&got.to_string()).unwrap(), want);
    }
}

#[test]
fn bad_publications() {
    for (text, parts) in [
        (
            "",
            &["''", "is not a port to publish", "5000:10.0.0.2:5000"][..],
        ),
        ("5000", &["'5000'", "write [HOST_IP:]PORT"]),
        ("5000:5000", &["CONTAINER_IP"]),
        ("a:b:c:d:e", &["is not a port to publish"]),
        ("0:10.0.0.2:5000", &["port '0'", "1 to 65535"]),
        ("70000:10.0.0.2:5000", &["port '70000'"]),
        ("5000:10.0.0.2:70000", &["port '70000'"]),
        ("5000:10.0.0.2:0", &["port '0'"]),
        ("+80:10.0.0.2:80", &["port '+80'"]),
        (":10.0.0.2:80", &["port ''"]),
        ("80:10.0.0.2:", &["port ''"]),
        ("80-:10.0.0.2:80", &["port ''"]),
        (
            "6000-6010:10.0.0.2:6000-6009",
            &["11 ports to 10", "same length"],
        ),
        ("6000-6010:10.0.0.2:6000", &["11 ports to 1"]),
        (
            "6010-6000:10.0.0.2:6000-6010",
            &["backwards", "write 6000-6010"],
        ),
        ("80:10.0.0:80", &["'10.0.0'", "not an IPv4 address"]),
        ("80:10.0.0.256:80", &["10.0.0.256"]),
        ("80:0.0.0.0:80", &["0.0.0.0", "a container's address"]),
        ("80:127.0.0.1:80", &["127.0.0.1"]),
        ("80:224.0.0.1:80", &["224.0.0.1"]),
        ("x:80:10.0.0.2:80", &["'x'"]),
        ("224.0.0.1:80:10.0.0.2:80", &["a local address"]),
        ("80:10.0.0.2:80/sctp", &["'sctp'", "tcp or udp"]),
        ("80:10.0.0.2:80/", &["protocol ''"]),
        ("80:10.0.0.2:80/tcp/udp", &["80/tcp"]),
    ] {
        says(publication::parse(text).unwrap_err(), parts);
    }
}

#[test]
fn overlaps() {
    let hit = |a: &str, b: &str| {
        let (a, b) = (
            publication::parse(a).unwrap(),
            publication::parse(b).unwrap(),
        );
        assert_eq!(publication::overlap(&a, &b), publication::overlap(&b, &a));
        publication::overlap(&a, &b)
    };
    assert!(hit("80:10.0.0.2:80", "80:10.0.0.3:80"));
    assert!(hit("80-90:10.0.0.2:80-90", "90-91:10.0.0.3:80-81"));
    assert!(hit("127.0.0.1:80:10.0.0.2:80", "80:10.0.0.3:80"));
    assert!(!hit("80:10.0.0.2:80", "80:10.0.0.2:80/udp"));
    assert!(!hit("80:10.0.0.2:80", "81:10.0.0.2:80"));
    assert!(!hit("127.0.0.1:80:10.0.0.2:80", "127.0.0.2:80:10.0.0.3:80"));
}

#[test]
fn namespaces() {
    for (text, want, path) in [
        ("web", NetnsRef::Name("web".into()), "/run/netns/web"),
        ("pid:12", NetnsRef::Pid(12), "/proc/12/ns/net"),
        (
            "/proc/7/ns/net",
            NetnsRef::Path("/proc/7/ns/net".into()),
            "/proc/7/ns/net",
        ),
    ] {
        let got: NetnsRef = text.parse().unwrap();
        assert_eq!(
            (got.to_string().as_str(), got.path().to_str().unwrap()),
            (text, path)
        );
        assert_eq!(got, want);
    }
    for (text, part) in [
        ("", "is empty"),
        ("..", "is not a name"),
        ("a/b", "relative path"),
        ("pid:", "write pid:N"),
        ("pid:0", "write pid:N"),
        ("pid:x", "write pid:N"),
        ("pid:99999999999", "write pid:N"),
        ("a:b", "':' or ','"),
    ] {
        says(text.parse::<NetnsRef>().unwrap_err(), &[part]);
    }
}

#[test]
fn attachments() {
    let a: AttachSpec = "web:10.0.0.2,name=lan0,mac=02:00:00:00:00:01"
        .parse()
        .unwrap();
    assert_eq!(a.netns, NetnsRef::Name("web".into()));
    assert_eq!(a.ip, Some(ip("10.0.0.2")));
    assert_eq!(a.name.as_str(), "lan0");
    assert_eq!(a.mac, Some(Mac([2, 0, 0, 0, 0, 1])));

    let b: AttachSpec = "pid:77".parse().unwrap();
    assert_eq!(
        (b.netns, b.ip, b.name.as_str(), b.mac),
        (NetnsRef::Pid(77), None, "eth0", None)
    );
    let c: AttachSpec = "pid:77:10.0.0.9".parse().unwrap();
    assert_eq!((c.netns, c.ip), (NetnsRef::Pid(77), Some(ip("10.0.0.9"))));
    let d: AttachSpec = "/proc/7/ns/net,name=x".parse().unwrap();
    assert_eq!(
        (d.netns.to_string().as_str(), d.name.as_str()),
        ("/proc/7/ns/net", "x")
    );

    for (text, parts) in [
        ("", &["is not a namespace to attach", "web:10.0.0.2"][..]),
        (":10.0.0.2", &["is not a namespace to attach"]),
        ("web:", &["''", "not an IPv4 address"]),
        ("web:10.0.0.2.3", &["10.0.0.2.3"]),
        ("web:255.255.255.255", &["255.255.255.255"]),
        ("web,nme=x", &["'nme=x'", "name=INTERFACE and mac=ADDRESS"]),
        ("web,", &["'' in 'web,' is unknown"]),
        ("web,name=a,name=b", &["'name' is given twice"]),
        (
            "web,mac=02:00:00:00:00:01,mac=02:00:00:00:00:01",
            &["'mac' is given twice"],
        ),
        ("web,mac=zz", &["'zz'", "six hex octets"]),
        ("web,mac=01:00:00:00:00:01", &["group address"]),
        ("web,mac=00:00:00:00:00:00", &["all zero"]),
        ("web,name=", &["is empty"]),
        ("web,name=sixteen_letters_", &["too long", "at most 15"]),
        ("web,name=a/b", &["contains one of"]),
        ("web,name=a b", &["contains a space"]),
        ("web,name=..", &["not allowed"]),
    ] {
        says(text.parse::<AttachSpec>().unwrap_err(), parts);
    }
}

#[test]
fn uplinks() {
    assert_eq!("none".parse::<UplinkSpec>().unwrap(), UplinkSpec::None);
    for (text, name) in [("nic", None), ("nic:eth0", Some("eth0"))] {
        let ifname = name.map(|n| n.parse().unwrap());
        let wanted = UplinkSpec::Nic(super::UplinkNic {
            ifname,
            asked: true,
        });
        assert_eq!(text.parse::<UplinkSpec>().unwrap(), wanted);
    }
    let text = "tap:sO:eth0,ip=192.0.2.1/24,peer=192.0.2.2/24";
    let UplinkSpec::Tap(u) = text.parse().unwrap() else {
        panic!("{text}");
    };
    assert_eq!(
        (u.netns.to_string().as_str(), u.ifname.as_str()),
        ("sO", "eth0")
    );
    assert_eq!(u.ip.to_string(), "192.0.2.1/24");
    assert_eq!(u.peer.to_string(), "192.0.2.2/24");
    assert!(
        "tap:pid:4:eth0,peer=192.0.2.2/24,ip=192.0.2.1/24"
            .parse::<UplinkSpec>()
            .is_ok()
    );

    for (text, parts) in [
        ("", &["is not an uplink", " or tap:NETNS"][..]),
        ("nic:", &["''", "interface"]),
        ("nic:a/b", &["'a/b'"]),
        ("nico", &["is not an uplink"]),
        ("eth0", &["is not an uplink"]),
        ("tap:sO", &["is not an uplink"]),
        ("tap:sO:", &["is not an uplink"]),
        ("tap:sO:eth0", &["is not an uplink"]),
        ("tap:sO:eth0,ip=192.0.2.1/24", &["is not an uplink"]),
        ("tap::eth0,ip=192.0.2.1/24,peer=192.0.2.2/24", &["is empty"]),
        (
            "tap:sO:eth0,ip=192.0.2.1,peer=192.0.2.2/24",
            &["'ip=192.0.2.1' in", "say ip=192.0.2.1/24"],
        ),
        (
            "tap:sO:eth0,ip=192.0.2.1/24,peer=192.0.2.2/",
            &["prefix length ''"],
        ),
        (
            "tap:sO:eth0,ip=192.0.2.1/33,peer=192.0.2.2/24",
            &["'33'", "8 to 30"],
        ),
        ("tap:sO:eth0,ip=x/24,peer=192.0.2.2/24", &["'x'"]),
        (
            "tap:sO:eth0,ip=192.0.2.1/24,gw=192.0.2.2/24",
            &["'gw=192.0.2.2/24'", "ip=ADDRESS"],
        ),
        (
            "tap:sO:eth0,ip=1.2.3.4/24,ip=1.2.3.4/24",
            &["'ip' is given twice"],
        ),
    ] {
        says(text.parse::<UplinkSpec>().unwrap_err(), parts);
    }
}

#[test]
fn scalars() {
    assert_eq!(
        scalar::subnet("10.0.0.0/24").unwrap().to_string(),
        "10.0.0.0/24"
    );
    for (text, parts) in [
        ("10.0.0.1/24", &["host bits", "write 10.0.0.0/24"][..]),
        ("10.0.0.0", &["ADDRESS/LEN"]),
        ("10.0.0.0/31", &["'31'", "8 to 30"]),
        ("10.0.0.0/7", &["'7'"]),
        ("10.0.0.0/", &["''"]),
        ("127.0.0.0/8", &["that hosts can have"]),
        ("224.0.0.0/8", &["that hosts can have"]),
        ("a/24", &["'a'"]),
    ] {
        says(scalar::subnet(text).unwrap_err(), parts);
    }
    for (text, secs) in [("300", 300), ("1s", 1), ("5m", 300), ("2h", 7200)] {
        assert_eq!(
            scalar::duration(text, "x").unwrap(),
            Duration::from_secs(secs)
        );
    }
    for text in [
        "",
        "0",
        "s",
        "-1",
        "1.5",
        "99999999",
        "18446744073709551615h",
        "5d",
        "ä",
    ] {
        says(
            scalar::duration(text, "a time").unwrap_err(),
            &["is not a time", "5m"],
        );
    }
    assert!(scalar::on_off("on", "x").unwrap() && !scalar::on_off("off", "x").unwrap());
    says(
        scalar::on_off("yes", "a switch").unwrap_err(),
        &["'yes'", "on or off"],
    );
    assert_eq!(scalar::number("68", "an MTU", 68, 65521).unwrap(), 68);
    says(
        scalar::number("67", "an MTU", 68, 65521).unwrap_err(),
        &["68 to 65521"],
    );
}

#[test]
fn offloads() {
    let only = |tso, uso, big| {
        Offload::Only(tap::Offload {
            csum: true,
            tso,
            uso,
            big,
        })
    };
    for (text, want) in [
        ("auto", Offload::Auto),
        ("on", Offload::On),
        ("off", Offload::Off),
        ("csum", only(false, false, false)),
        ("uso", only(false, true, false)),
        ("csum,tso,uso", only(true, true, false)),
        ("big", only(true, false, true)),
        ("csum,tso,uso,big", only(true, true, true)),
    ] {
        let got = scalar::offload(text).unwrap();
        assert_eq!(got, want);
        assert_eq!(scalar::offload(&got.to_string()).unwrap(), want);
    }
    assert_eq!(Offload::Auto.outside(), only(true, true, false));
    assert_eq!(only(true, false, true).outside(), only(true, false, false));
    assert_eq!(Offload::Off.outside(), Offload::Off);
    for text in ["", "full", "csum,", "csum,gso"] {
        says(scalar::offload(text).unwrap_err(), &["csum, tso, uso, big"]);
    }
}

proptest! {
    /// Any text, and any text made of the letters that the languages use, gives an answer.
    #[test]
    fn parsers_never_panic(text in prop_oneof![".*", "[0-9.:/,=a-z-]{0,40}", "tap:[a-z0-9:,=./]{0,40}"]) {
        let _ = publication::parse(&text);
        let _ = text.parse::<AttachSpec>();
        let _ = text.parse::<UplinkSpec>();
        let _ = text.parse::<NetnsRef>();
        let _ = text.parse::<IfName>();
        let _ = scalar::subnet(&text);
        let _ = scalar::duration(&text, "x");
        let _ = scalar::offload(&text);
        let _ = super::LogSpec::parse(&text);
    }

    /// What a publication displays as is read back as the same publication.
    #[test]
    fn publications_round_trip(
        host in proptest::option::of(1u8..=223), first in 1u16.., len in 0u16..100, port in 1u16..,
        d in 2u8..=254, udp: bool,
    ) {
        let last = first.saturating_add(len).min(first.saturating_add(u16::MAX - port));
        let p = Publication {
            proto: if udp { Proto::UDP } else { Proto::TCP },
            host_ip: host.map(|h| Ipv4Addr::new(h, 0, 0, 1)),
            first,
            last,
            ip: Ipv4Addr::new(10, 0, 0, d),
            port,
        };
        prop_assert_eq!(publication::parse(&p.to_string()).unwrap(), p);
    }
}
