use super::*;
use crate::api::types::{Count, Port, PortRole, Publication};
use clap::Parser;
use std::cell::RefCell;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(words: &str) -> Args {
    let words = std::iter::once("run").chain(words.split_whitespace());
    Line::try_parse_from(words).unwrap().args
}

#[test]
fn words_after_the_command_are_its_own() {
    let a = args("-p 80:80 --net bridge -- prog -p 1:1 --net host");
    assert_eq!((a.publish, a.net), (vec!["80:80".to_owned()], Net::Bridge));
    assert_eq!(a.command, ["prog", "-p", "1:1", "--net", "host"]);
    let a = args("-p 80:80 -p 81:81 prog -x --net host");
    assert_eq!(a.publish.len(), 2);
    assert_eq!(a.command, ["prog", "-x", "--net", "host"]);
    assert!(
        Line::try_parse_from(["run", "-p", "80:80"]).is_err(),
        "no command"
    );
}

#[test]
fn wrong_words_are_usage_errors() {
    for (words, said) in [
        ("-p 5000 -- x", "-p: '5000'"),
        ("-p 1-2:1-3 -- x", "-p:"),
        ("-p 80:80 -p 79-81:1-3 -- x", "in common"),
        ("-p 127.0.0.1:80:80 -p 80:81 -- x", "in common"),
        ("--net host --ip 10.0.0.9 -- x", "--net host"),
        ("--net host --name web -- x", "--net host"),
        ("--name a/b -- x", "--name:"),
        ("--name pid:3 -- x", "--name:"),
        ("--name a,name=eth1 -- x", "--name:"),
        ("--name -x -- x", "--name:"),
    ] {
        let Ok(line) = Line::try_parse_from(std::iter::once("run").chain(words.split(' '))) else {
            assert!(words.contains("--name -x"), "{words}");
            continue;
        };
        let e = check(&line.args).unwrap_err();
        assert_eq!(e.code(), 2);
        assert!(e.to_string().contains(said), "{e}");
    }
    for fine in [
        "-p 80:80 -p 80:80/udp -- x",
        "-p 127.0.0.1:80:1 -p 127.0.0.2:80:2 -- x",
    ] {
        check(&args(fine)).unwrap();
    }
    let e = with_ip("pid:7".into(), Some(Ipv4Addr::LOCALHOST)).unwrap_err();
    assert_eq!(e.code(), 2);
    assert_eq!(
        with_ip("pid:7".into(), Some(Ipv4Addr::new(10, 0, 0, 9))).unwrap(),
        "pid:7:10.0.0.9"
    );
}

/// A switch that writes down what it is told and refuses to publish port 6.
#[derive(Default)]
struct Fake(RefCell<Vec<String>>);

impl Fake {
    fn hear(&self, words: String) {
        self.0.borrow_mut().push(words);
    }
}

impl Switch for Fake {
    fn attach(&self, spec: &str) -> Result<Port, Failure> {
        self.hear(format!("attach {spec}"));
        Ok(Port {
            id: 3,
            name: "eth0@pid:7".into(),
            interface: "eth0".into(),
            netns: "pid:7".into(),
            role: PortRole::Access,
            ip: Some(Ipv4Addr::new(10, 0, 0, 2)),
            mac: String::new(),
            mtu: 1500,
            rx_frames: 0,
            rx_bytes: 0,
            tx_frames: 0,
            tx_bytes: 0,
            drops: 0,
        })
    }

    fn dns(&self) -> Option<Ipv4Addr> {
        None
    }

    fn detach(&self, name: &str) -> Result<(), Failure> {
        self.hear(format!("detach {name}"));
        Ok(())
    }

    fn publish(&self, spec: &str) -> Result<Publication, Failure> {
        self.hear(format!("publish {spec}"));
        if spec.starts_with("6:") {
            return Err(Failure::refused("taken"));
        }
        Ok(Publication {
            id: 40 + self.0.borrow().len() as u32,
            spec: spec.into(),
            proto: "tcp".into(),
            host_ip: None,
            first: 0,
            last: 0,
            ip: Ipv4Addr::UNSPECIFIED,
            port: 0,
            localhost: true,
            dnat: Count {
                packets: 0,
                bytes: 0,
            },
        })
    }

    fn unpublish(&self, id: u32) -> Result<(), Failure> {
        self.hear(format!("unpublish {id}"));
        Ok(())
    }
}

#[test]
fn what_was_made_is_taken_back_in_reverse() {
    let ports = |specs: &[&str]| -> Vec<Published> {
        specs.iter().map(|s| Published::parse(s).unwrap()).collect()
    };
    let fake = Fake::default();
    drop(Made::attach(&fake, "pid:7", &ports(&["5:50", "7:70/udp"])).unwrap());
    let all = [
        "attach pid:7",
        "publish 5:10.0.0.2:50/tcp",
        "publish 7:10.0.0.2:70/udp",
        "unpublish 43",
        "unpublish 42",
        "detach eth0@pid:7",
    ];
    assert_eq!(*fake.0.borrow(), all);

    let fake = Fake::default();
    let refused = Made::attach(&fake, "pid:7", &ports(&["5:50", "6:60"]))
        .err()
        .unwrap();
    assert_eq!(refused.to_string(), "taken");
    assert_eq!(fake.0.borrow()[3..], ["unpublish 42", "detach eth0@pid:7"]);
}
