//! Any words as a configuration file or the value of a flag: refused in one sentence, or
//! understood as something that can be written down and is understood the same again.

use control::config;
use control::flags::Raw;
use control::plan::spec::Dns;
use control::plan::spec::LogSpec;
use control::plan::spec::{publication, scalar};
use control::plan::validate::{Surroundings, plan};
use control::plan::{AttachSpec, NetnsRef, Plan, UplinkSpec};

/// The first byte chooses the language, the rest is the text.
pub fn words(data: &[u8]) {
    let Some((&which, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match which % 8 {
        0 | 1 => file(text),
        2 => ports(text),
        3 => attach(text),
        4 => uplink(text),
        5 => netns(text),
        6 => scalars(text),
        _ => flags(text),
    }
}

fn sentence(e: impl std::fmt::Display) {
    let e = e.to_string();
    assert!(!e.is_empty());
}

fn here() -> Surroundings {
    Surroundings {
        cores: 2,
        euid: 0,
        runtime_dir: None,
    }
}

fn file(text: &str) {
    match config::parse(text) {
        Ok(raw) => whole(&raw),
        Err(e) => assert!(!e.contains('\n'), "{e:?}"),
    }
}

/// One value for every flag in turn.
fn flags(text: &str) {
    for name in Raw::names() {
        let value = serde_json::Value::from(text);
        let raw = serde_json::from_value(serde_json::json!({ name: value }));
        whole(&raw.expect("every setting takes a text"));
    }
}

/// A plan contradicts nothing.
fn whole(raw: &Raw) {
    match plan(raw, &here()) {
        Ok(p) => sound(&p),
        Err(e) => {
            assert_eq!(e.code(), 2, "{e}");
            sentence(e);
        }
    }
}

fn sound(p: &Plan) {
    let n = &p.network;
    assert!(n.subnet.contains(&n.gateway));
    assert!((1..=64).contains(&p.workers));
    for (i, a) in p.attach.iter().enumerate() {
        assert!(n.subnet.contains(&a.ip) && a.ip != n.gateway);
        assert!(!a.mac.is_group());
        for b in &p.attach[..i] {
            assert!(a.ip != b.ip && a.mac != b.mac);
            assert!((&a.netns, &a.name) != (&b.netns, &b.name));
        }
    }
    for (i, a) in p.ports.iter().enumerate() {
        assert!(n.subnet.contains(&a.ip) && a.ip != n.gateway);
        assert!(p.ports[..i].iter().all(|b| !publication::overlap(a, b)));
    }
    if let Some(u) = p.uplink.tap() {
        assert!(u.ip.addr() != u.peer.addr() && u.ip.trunc() == u.peer.trunc());
        assert!(!n.subnet.contains(&u.ip.addr()) && !n.subnet.contains(&u.peer.addr()));
    }
    let rules = dataplane::nat::Rules::new();
    for one in &p.ports {
        rules
            .publish(*one)
            .expect("a publication that the plan took");
    }
}

fn ports(text: &str) {
    match publication::parse(text) {
        Ok(p) => {
            assert!(p.first > 0 && p.first <= p.last && p.port > 0);
            assert!(u32::from(p.port) + u32::from(p.last - p.first) <= 65_535);
            assert_eq!(publication::parse(&p.to_string()), Ok(p));
        }
        Err(e) => sentence(e),
    }
}

fn attach(text: &str) {
    match text.parse::<AttachSpec>() {
        Ok(a) => {
            let mut again = a.netns.to_string();
            if let Some(ip) = a.ip {
                again += &format!(":{ip}");
            }
            again += &format!(",name={}", a.name);
            if let Some(mac) = a.mac {
                assert!(!mac.is_group());
                again += &format!(",mac={mac}");
            }
            assert_eq!(again.parse(), Ok(a));
        }
        Err(e) => sentence(e),
    }
}

fn uplink(text: &str) {
    match text.parse::<UplinkSpec>() {
        Ok(UplinkSpec::None) => assert_eq!(text, "none"),
        Ok(UplinkSpec::Tap(u)) => {
            let (n, i) = (&u.netns, &u.ifname);
            let again = format!("tap:{n}:{i},ip={},peer={}", u.ip, u.peer);
            assert_eq!(again.parse(), Ok(UplinkSpec::Tap(u)));
        }
        Ok(UplinkSpec::Nic(u)) => {
            let again = u
                .ifname
                .as_ref()
                .map_or("nic".to_owned(), |i| format!("nic:{i}"));
            assert!(u.asked && again == text);
        }
        Ok(UplinkSpec::Sockets(s)) => {
            let again = match s.dns {
                Dns::Host => "sockets".to_owned(),
                Dns::Off => "sockets,dns=off".to_owned(),
                Dns::To(ip) => format!("sockets,dns={ip}"),
            };
            assert_eq!(again.parse(), Ok(UplinkSpec::Sockets(s)));
        }
        Err(e) => sentence(e),
    }
}

fn netns(text: &str) {
    match text.parse::<NetnsRef>() {
        Ok(n) => {
            assert!(n.path().is_absolute());
            assert_eq!(n.to_string().parse(), Ok(n));
        }
        Err(e) => sentence(e),
    }
}

fn scalars(text: &str) {
    if let Ok(net) = scalar::subnet(text) {
        assert_eq!(net, net.trunc());
        assert_eq!(scalar::subnet(&net.to_string()), Ok(net));
    }
    if let Ok(ip) = scalar::gateway(text) {
        assert_eq!(scalar::gateway(&ip.to_string()), Ok(ip));
    }
    if let Ok(n) = scalar::number(text, "a number", 5, 500) {
        assert!((5..=500).contains(&n));
    }
    if let Ok(d) = scalar::duration(text, "a time") {
        assert!(!d.is_zero());
    }
    if let Ok(o) = scalar::offload(text) {
        assert_eq!(scalar::offload(&o.to_string()), Ok(o), "{o}");
    }
    let _ = scalar::on_off(text, "a choice");
    let _ = LogSpec::parse(text);
}
