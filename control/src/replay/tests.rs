use super::*;
use crate::plan::Plan;
use dataplane::port::sys::tap;

fn plan_of(raw: &Raw) -> Plan {
    let here = Surroundings {
        cores: 1,
        euid: 0,
        runtime_dir: None,
    };
    plan(raw, &here).unwrap()
}

fn capture_of(interfaces: Vec<Interface>, packets: Vec<(usize, u64, Vec<u8>)>) -> Capture {
    let packets = packets
        .into_iter()
        .map(|(interface, at, bytes)| Packet {
            at,
            interface,
            original_len: bytes.len() as u32,
            bytes,
            vnet: [0; 10],
            comment: None,
        })
        .collect();
    Capture {
        interfaces,
        packets,
        trouble: None,
    }
}

fn story(c: &Capture) -> String {
    let (setup, ports) = setup(c, &plan_of(&Raw::default()), Caps::ALL, 1);
    let mut replay = Replay::new(c, &setup, ports).unwrap();
    let mut out = Vec::new();
    let balance = story::tell(&mut replay, c, &setup, &mut out, drop).unwrap();
    balance.unwrap();
    String::from_utf8(out).unwrap()
}

/// web asks for the gateway.
fn who_has() -> Vec<u8> {
    let mut f = vec![0xff; 6];
    f.extend([2, 0x42, 10, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    f.extend([
        2, 0x42, 10, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
    ]);
    f
}

#[test]
fn each_frame_gets_its_line() {
    let c = capture_of(
        vec![Interface::new("web", None, None)],
        vec![(0, 1_000, who_has()), (0, 2_000, vec![0; 9])],
    );
    let text = story(&c);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains("1    0.000000 web: ARP who has 10.0.0.1?"),
        "{text}"
    );
    assert!(
        lines[0].contains("-> answered by the switch; to web: 02:42:0a:00:00:01 > 02:42:0a:00:00:02: ARP 10.0.0.1 is at"),
        "{text}"
    );
    assert!(
        lines[1].contains("9 bytes, less than an Ethernet header -> dropped:"),
        "{text}"
    );
    assert!(lines[1].ends_with("(eth_truncated)"), "{text}");
    assert!(text.contains("nothing is missing"), "{text}");
}

#[test]
fn names_choose_ports() {
    let mac = Mac([2, 0x42, 10, 0, 0, 9]);
    let c = capture_of(
        vec![
            Interface::default(),
            Interface::new("sw0", None, None),
            Interface::new("uplink", None, Some([192, 0, 2, 77].into())),
            Interface::new("eth7", Some(mac), Some([10, 0, 0, 9].into())),
            Interface::new("eth7", Some(mac), None),
            Interface::new("eth8", Some(mac), Some([10, 0, 0, 9].into())),
            Interface::new("eth9", Some(Mac::BROADCAST), Some([172, 16, 0, 1].into())),
        ],
        vec![],
    );
    let (s, ports) = setup(&c, &plan_of(&Raw::default()), Caps::ALL, 1);
    let names: Vec<&str> = ports.iter().map(|p| s.ports[*p].name.as_str()).collect();
    assert_eq!(
        names,
        ["web", "sw0", "uplink", "eth7", "eth7", "eth8", "eth9"]
    );
    let role = |n: &str| s.ports.iter().find(|p| p.name == n).unwrap().role;
    assert_eq!(
        (role("sw0"), role("uplink"), role("web")),
        (Role::Host, Role::Uplink, Role::Access)
    );
    assert_eq!(s.config.uplink.unwrap().next_hop.octets(), [192, 0, 2, 77]);
    // A MAC or address that is taken or impossible is not believed, and the switch starts.
    let eth = |n: &str| s.ports.iter().find(|p| p.name == n).unwrap();
    assert_eq!(
        (eth("eth7").mac, eth("eth8").ip, eth("eth9").ip),
        (mac, None, None)
    );
    Lab::new(&s).unwrap();
}

#[test]
fn attached_namespaces_are_ports() {
    let raw = Raw {
        attach: vec!["web:10.0.0.2".into(), "db:10.0.0.3".into()],
        ..Raw::default()
    };
    let c = capture_of(vec![Interface::new("web", None, None)], vec![]);
    let (s, ports) = setup(&c, &plan_of(&raw), Caps::ALL, 1);
    let names: Vec<&str> = s.ports.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["sw0", "web", "db"]);
    assert_eq!(ports, [1]);
    assert_eq!(s.ports[1].mac, Mac([2, 0x42, 10, 0, 0, 2]));
    Lab::new(&s).unwrap();
}

#[test]
fn ports_take_what_the_offloads_say() {
    let only = Offload::Only(tap::Offload {
        tso: false,
        ..tap::Offload::AUTO
    });
    let some = caps(only);
    assert!(some.csum && some.uso && !some.tso4 && !some.tso6 && !some.big);
    assert_eq!(
        (caps(Offload::Auto), caps(Offload::Off)),
        (Caps::ALL, Caps::NONE)
    );
}

#[test]
fn time_that_jumps_or_goes_back_is_survived() {
    let day = 86_400_000_000_000;
    let at = [5 * day, 0, 9000 * day, u64::MAX, 7, u64::MAX];
    let packets = at.iter().map(|t| (0, *t, who_has())).collect();
    let text = story(&capture_of(vec![Interface::default()], packets));
    assert_eq!(
        text.matches("answered by the switch").count(),
        at.len(),
        "{text}"
    );
}

#[test]
fn what_a_file_says_cannot_command_a_terminal() {
    let mut c = capture_of(
        vec![Interface::new("we\u{1b}[2Jb\n", None, None)],
        vec![(0, 0, who_has())],
    );
    c.packets[0].comment = Some("red \u{1b}[31m\rand\nso on\u{9b}m".into());
    let text = story(&c);
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(control), "{text:?}");
    assert!(
        text.lines()
            .next()
            .unwrap()
            .contains("[red  [31m and so on m] -> "),
        "{text}"
    );
}

#[test]
fn a_cut_packet_is_said_to_be_cut_by_the_capture() {
    let mut c = capture_of(vec![Interface::default()], vec![(0, 0, who_has())]);
    c.packets[0].bytes.truncate(30);
    let text = story(&c);
    assert!(
        text.contains(", the capture has 30 of its 42 bytes -> dropped: "),
        "{text}"
    );
}

#[test]
fn more_interfaces_than_a_switch_has_ports_are_refused_at_once() {
    let all = (0..30_000).map(|n| Interface::new(&format!("p{n}"), None, None));
    let c = capture_of(all.collect(), vec![(29_999, 0, who_has())]);
    let (s, ports) = setup(&c, &plan_of(&Raw::default()), Caps::ALL, 1);
    assert_eq!((s.ports.len(), ports.len()), (4_097, 30_000));
    let e = Replay::new(&c, &s, ports).err().unwrap().to_string();
    assert!(e.contains("4096 ports"), "{e}");
}

#[test]
fn packets_of_another_kind_are_passed_over_in_words() {
    let mut cooked = Interface::new("any", None, None);
    cooked.set_link(113);
    let mut c = capture_of(
        vec![cooked, Interface::new("web", None, None)],
        vec![(1, 0, who_has())],
    );
    c.interfaces[0].passed_over = 7;
    let (s, ports) = setup(&c, &plan_of(&Raw::default()), Caps::ALL, 1);
    let names: Vec<&str> = s.ports.iter().map(|p| p.name.as_str()).collect();
    assert_eq!((names, ports), (vec!["sw0", "web"], vec![0, 1]));
    let text = story(&c);
    assert!(
        text.contains("7 packets of interface any are passed over: the packets are Linux cooked"),
        "{text}"
    );
}

#[test]
fn a_capture_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("x.pcapng");
    save(&input, &capture_of(vec![Interface::default()], vec![])).unwrap();
    let before = std::fs::read(&input).unwrap();
    let args = Args {
        write: Some(dir.path().join(".").join("x.pcapng")),
        input: input.clone(),
        ..Args::default()
    };
    let e = run(&args).unwrap_err();
    assert!(
        e.code() == 2 && e.to_string().starts_with("--write: "),
        "{e}"
    );
    assert_eq!(std::fs::read(&input).unwrap(), before);
}

#[test]
fn an_unreadable_file_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pcapng");
    let says = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let e = load(&path).unwrap_err();
        assert_eq!(e.code(), 1);
        assert!(e.to_string().contains("x.pcapng: "), "{e}");
        e.to_string()
    };
    assert!(says(b"hello").contains("neither a pcap nor a pcapng file"));
    assert!(says(&[0x0a, 0x0d, 0x0d, 0x0a]).contains("cut short"));
    assert!(
        load(Path::new("/nonexistent.pcap"))
            .unwrap_err()
            .to_string()
            .contains("cannot read")
    );
}

use dataplane::base::{Mac, Role};
