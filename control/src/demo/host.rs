//! The step about `--net host`: a program that shares the host's network.

use super::stage::Stage;
use super::story::Told;
use super::tale::Tale;
use super::web::{WebServer, fetch};
use crate::netlink::{Netlink, Real};
use crate::netns::sys::end_with_parent;
use crate::plan::Failure;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where the program listens, on the host.
const PORT: u16 = 9000;
/// How often the comparison may be spoilt by a packet of something else, as the kernel's own ARP
/// for a neighbour that it last spoke to a while ago.
const TRIES: u32 = 5;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Step 9.
pub fn network(t: &mut Tale, s: &Stage) -> Told {
    t.step(
        "Host network: the switch is not asked at all",
        "docker run --net=host gives a container no network of its own. switchd run --net host \
         makes no namespace, no TAP and no rule: the program listens on the host itself.",
    );
    let mut cmd = Command::new("/proc/self/exe");
    cmd.args(["run", "--net", "host", "--", "/proc/self/exe", "demo"])
        .args(["--serve", &PORT.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let rules = s.switch.rules()?;
    let ports = s.switch.ports()?.len();
    let cannot = |e| Failure::Refused(format!("cannot start switchd run: {e}"));
    let _program = Program(end_with_parent(&mut cmd).spawn().map_err(cannot)?);
    t.saw(format_args!(
        "running: switchd run --net host -- (a web server on port {PORT})"
    ));
    let url = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let mut page = fetch(url, "/");
    for _ in 0..500 {
        if page.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        page = fetch(url, "/");
    }
    let Some(page) = t.attempt(format_args!("the host gets http://{url}/"), page) else {
        return Ok(());
    };
    t.check(
        format_args!("the host gets http://{url}/: \"{}\"", page.text()),
        page.status == 200 && page.text() == greeting(&mut s.host.netlink()?)?,
    );
    for left in (0..TRIES).rev() {
        let before = s.switch.stats()?.total.rx;
        for _ in 0..10 {
            fetch(url, "/").map_err(Failure::refused)?;
        }
        let after = s.switch.stats()?.total.rx;
        if before == after || left == 0 {
            t.check(
                format_args!("ten more pages; frames the switch read: {before} -> {after}"),
                before == after,
            );
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let now = s.switch.ports()?.len();
    t.check(
        format_args!("ports of the switch: {ports} -> {now}"),
        ports == now,
    );
    t.check("the rules are the same", s.switch.rules()? == rules);
    Ok(())
}

fn greeting(nl: &mut Real) -> Result<String, Failure> {
    let links = nl.links().map_err(Failure::refused)?;
    let names: Vec<String> = links.into_iter().map(|l| l.name).collect();
    Ok(format!("I see the host's interfaces: {}", names.join(", ")))
}

/// What the program of this step does: it serves one page until it is ended.
///
/// # Errors
/// What the system says.
pub fn serve(port: u16) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(Failure::refused)?;
    let page = greeting(&mut Real::new().map_err(Failure::refused)?)?;
    let server = WebServer::start(listener, move |_| Some(page.clone().into_bytes()))
        .map_err(Failure::refused)?;
    loop {
        std::thread::park();
        // Parking may end for no reason; the server's life ends with the process.
        let _ = server.address();
    }
}
