//! Inside the network: interfaces, frames by MAC, the gateway.

use super::{PATIENCE, Told, asked_last, get, serve, shown};
use crate::api::types::FdbEntry;
use crate::demo::counters::moved;
use crate::demo::ping::ping;
use crate::demo::stage::{DB, GATEWAY, HTTP, Room, Stage, WEB};
use crate::demo::tale::Tale;
use crate::netlink::{LinkChange, Netlink};
use crate::plan::Failure;
use crate::render;
use dataplane::base::Mac;
use std::net::Ipv4Addr;

/// Step 1.
pub fn interfaces(t: &mut Tale, s: &Stage) -> Told {
    t.step(
        "The bridge and its cables",
        "On a Docker host, docker0 is a bridge in the kernel with the gateway's address, and a \
         veth pair leads from it into each container. Here the bridge is the program switchd: \
         the host sees it as sw0, and each namespace has one end of a TAP, called eth0.",
    );
    for room in s.rooms() {
        let mut nl = room.netlink()?;
        let link = nl.link(room.interface).map_err(Failure::refused)?;
        let Some(link) = link else {
            t.check(format_args!("{} has {}", room.name, room.interface), false);
            continue;
        };
        let addresses = nl.addresses().map_err(Failure::refused)?;
        let address = addresses.iter().find(|a| a.index == link.index);
        let routes = nl.routes().map_err(Failure::refused)?;
        let gateway = routes
            .iter()
            .find(|r| r.prefix == 0)
            .and_then(|r| r.gateway);
        let (ip, prefix) = address.map_or((Ipv4Addr::UNSPECIFIED, 0), |a| (a.ip, a.prefix));
        let network = format!("{ip}/{prefix}");
        let via = gateway.map_or("-".to_owned(), |g| format!("default via {g}"));
        t.saw(format_args!(
            "{:<8} {:<5} {network:<14} {}  mtu {}  {via}",
            room.name, room.interface, link.mac, link.mtu
        ));
        let container = s.containers.iter().any(|c| c.name == room.name);
        let so =
            link.up && link.running && ip == room.ip && gateway == container.then_some(GATEWAY);
        if !so {
            t.check(format_args!("{} is connected", room.name), false);
        }
    }
    let gateway = s.host.netlink()?.link("sw0").map_err(Failure::refused)?;
    let mac = gateway.map(|l| l.mac.to_string()).unwrap_or_default();
    let status = s.switch.status()?;
    t.check(
        format_args!("five interfaces are up; the gateway {GATEWAY} has sw0's MAC {mac}"),
        status.gateway_mac == mac && status.ports == 5,
    );
    Ok(())
}

/// Step 2.
pub fn by_mac(t: &mut Tale, s: &Stage) -> Told {
    let [web, api, _] = &s.containers;
    t.step(
        "Container to container: frames go by MAC",
        "api asks by ARP who has web's address, web answers itself, and the frames go from port \
         to port by the forwarding database. No rule is asked.",
    );
    let rules = s.switch.rules()?;
    let pings = api.inside(|| ping(WEB, 3, 56, PATIENCE))?;
    if let Some(p) = t.attempt("api pings web", pings) {
        let mean = p.total.as_micros() / u128::from(p.answered.max(1));
        t.check(
            format_args!(
                "api pings {WEB}: {} of {} answered, ttl {}, {mean} µs",
                p.answered, p.sent, p.ttl
            ),
            p.all() && p.ttl == 64,
        );
    }
    let web_mac = mac_of(web)?;
    t.check(
        format_args!("api's ARP table has {WEB} at {web_mac}, web's own MAC"),
        api.knows(WEB, &web_mac)?,
    );
    let server = serve(web, HTTP)?;
    let page = get(t, api, WEB, HTTP, "hello from web");
    let seen = asked_last(&server);
    t.check(
        format_args!("web saw api's own address: {}", shown(seen)),
        page.is_some_and(|p| Some(p.local) == seen),
    );
    let m = moved(&rules, &s.switch.rules()?);
    t.check("no rule counted anything", m.is_empty());
    Ok(())
}

/// Step 3.
pub fn learning(t: &mut Tale, s: &Stage) -> Told {
    let [_, api, db] = &s.containers;
    t.step(
        "The forwarding database learns",
        "The switch knows the MACs that it gave out. Every other one it learns from the source \
         of a frame, as a bridge does: api takes another MAC now, and speaks to db.",
    );
    let fdb = || -> Result<Vec<FdbEntry>, Failure> { Ok(s.switch.client.get("/v1/fdb")?) };
    let port = format!("eth0@{}", api.name);
    let new = Mac([0x02, 0, 0, 0, 0, 0xaa]);
    let known = |fdb: &[FdbEntry]| {
        fdb.iter()
            .any(|e| e.mac == new.to_string() && e.port == port)
    };
    let before = fdb()?;
    let mut nl = api.netlink()?;
    if let Some(link) = nl.link(api.interface).map_err(Failure::refused)? {
        let change = LinkChange {
            mac: Some(new),
            ..LinkChange::default()
        };
        nl.change_link(link.index, &change)
            .map_err(Failure::refused)?;
    }
    let pings = api.inside(|| ping(DB, 1, 56, PATIENCE))?;
    let pings = t.attempt("api pings db", pings);
    t.check(
        format_args!("api, now {new}, pings {DB}"),
        pings.is_some_and(|p| p.all()),
    );
    let after = fdb()?;
    t.saw("switchctl fdb before:");
    t.saw(indent(&render::fdb::render(&before)));
    t.saw("and after:");
    t.saw(indent(&render::fdb::render(&after)));
    t.check(
        format_args!("learned: {new} is behind {port}"),
        known(&after) && !known(&before),
    );
    t.check(
        format_args!("db's ARP table has {} at {new}", api.ip),
        db.knows(api.ip, &new.to_string())?,
    );
    Ok(())
}

fn mac_of(room: &Room) -> Result<String, Failure> {
    let link = room
        .netlink()?
        .link(room.interface)
        .map_err(Failure::refused)?;
    Ok(link.map(|l| l.mac.to_string()).unwrap_or_default())
}

fn indent(text: &str) -> String {
    text.lines().map(|l| format!("  {l}\n")).collect()
}

/// Step 4.
pub fn gateway(t: &mut Tale, s: &Stage) -> Told {
    let db = &s.containers[2];
    t.step(
        "The gateway: ARP and ping answered by the switch",
        "A container's way out is the gateway. On a Docker host the kernel answers for \
         docker0's address. Here switchd answers ARP and ping for it.",
    );
    let before = s.switch.stats()?.total;
    let pings = db.inside(|| ping(GATEWAY, 3, 56, PATIENCE))?;
    let pings = t.attempt("db pings the gateway", pings);
    if let Some(p) = &pings {
        let what = format!("db pings {GATEWAY}: {} of {} answered", p.answered, p.sent);
        t.check(what, p.all());
    }
    let mac = mac_of(&s.host)?;
    t.check(
        format_args!("db's ARP table has {GATEWAY} at {mac}, sw0's MAC"),
        db.knows(GATEWAY, &mac)?,
    );
    let after = s.switch.stats()?.total;
    let (consumed, made) = (
        after.consumed - before.consumed,
        after.originated - before.originated,
    );
    t.check(
        format_args!("the switch took {consumed} frames for itself and made {made}"),
        consumed >= 4 && made >= 4,
    );
    Ok(())
}
