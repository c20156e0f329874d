//! The steps. Each says what Docker does, does it here, and shows what it saw.

mod inside;
mod nat;

pub use inside::{by_mac, gateway, interfaces, learning};
pub use nat::{account, from_outside, from_the_host, rules, to_outside};

use super::stage::Room;
use super::tale::Tale;
use super::web::{Fetched, WebServer, fetch};
use crate::plan::Failure;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The result of a step that could not be told to its end.
pub type Told = Result<(), Failure>;

/// How long an answer to a ping is waited for, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// A web server in the room with a page that names it.
fn serve(room: &Room, port: u16) -> Result<WebServer, Failure> {
    let page = format!("hello from {}\n", room.name);
    WebServer::start(room.listen(port)?, move |path| {
        (path == "/").then(|| page.clone().into_bytes())
    })
    .map_err(Failure::refused)
}

/// Fetches the page and checks it.
fn get(t: &mut Tale, from: &Room, ip: Ipv4Addr, port: u16, page: &str) -> Option<Fetched> {
    let url = SocketAddr::from((ip, port));
    let fetched = from
        .inside(|| fetch(url, "/"))
        .and_then(|r| r.map_err(Failure::refused));
    let fetched = t.attempt(format_args!("{} gets http://{url}/", from.name), fetched)?;
    let so = fetched.status == 200 && fetched.text() == page;
    let what = format!("{} gets http://{url}/: \"{}\"", from.name, fetched.text());
    t.check(what, so);
    Some(fetched)
}

/// Who asked last, as the server saw it.
fn asked_last(server: &WebServer) -> Option<SocketAddr> {
    server.clients().last().copied()
}

fn shown(address: Option<SocketAddr>) -> String {
    address.map_or("nobody".to_owned(), |a| a.to_string())
}
