//! What is translated: published ports, localhost, the way out; and the account at the end.

use super::{PATIENCE, Told, asked_last, get, serve, shown};
use crate::api::types::{Connection, Rules};
use crate::demo::counters::{Moved, moved, packets};
use crate::demo::ping::ping;
use crate::demo::stage::{DB, GATEWAY, HTTP, OUTSIDE, PUBLISHED, Stage, UPLINK, WEB};
use crate::demo::tale::Tale;
use crate::plan::Failure;
use crate::render;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Step 5.
pub fn rules(t: &mut Tale, s: &Stage) -> Told {
    t.step(
        "The rules",
        "docker run -p 8080:80 adds a DNAT rule to the chain DOCKER and a MASQUERADE rule to \
         POSTROUTING. switchd keeps the same chains; switchctl rules prints them as iptables -t \
         nat -L -n -v does. No connection from outside was made yet.",
    );
    let rules = s.switch.rules()?;
    t.saw(render::rules::render(&rules));
    let has = |chain: &str, target: &str, published: bool| {
        let chain = rules.chains.iter().find(|c| c.name == chain);
        chain.is_some_and(|c| {
            c.rules.iter().any(|r| {
                r.target == target && r.publication.is_some() == published && r.count.packets == 0
            })
        })
    };
    t.check(
        "DNAT for the published port, not used yet",
        has("DOCKER", "DNAT", true),
    );
    t.check(
        "MASQUERADE for the published port and for the subnet, not used yet",
        has("POSTROUTING", "MASQUERADE", true) && has("POSTROUTING", "MASQUERADE", false),
    );
    Ok(())
}

/// What moved since `before`, shown.
fn show_moved(t: &mut Tale, s: &Stage, before: &Rules) -> Result<Vec<Moved>, Failure> {
    let m = moved(before, &s.switch.rules()?);
    t.saw("counters that moved:");
    for line in &m {
        t.saw(format_args!("  {line}"));
    }
    Ok(m)
}

/// The tracked connection of this client.
fn tracked(s: &Stage, client: SocketAddr) -> Result<Option<Connection>, Failure> {
    let all: Vec<Connection> = s.switch.client.get("/v1/conntrack")?;
    let own = |c: &Connection| {
        IpAddr::V4(c.orig.src) == client.ip() && c.orig.sport == Some(client.port())
    };
    Ok(all.into_iter().find(own))
}

fn show_tracked(t: &mut Tale, c: &Connection) {
    let ends = |src, sport: Option<u16>, dst, dport: Option<u16>| {
        format!(
            "{src}:{} -> {dst}:{}",
            sport.unwrap_or(0),
            dport.unwrap_or(0)
        )
    };
    let (o, r) = (&c.orig, &c.reply);
    t.saw("the connection as the switch tracks it:");
    t.saw(format_args!(
        "  there {}",
        ends(o.src, o.sport, o.dst, o.dport)
    ));
    t.saw(format_args!(
        "  back  {}",
        ends(r.src, r.sport, r.dst, r.dport)
    ));
}

/// Step 6.
pub fn from_outside(t: &mut Tale, s: &Stage) -> Told {
    t.step(
        "From outside to a published port: DNAT",
        "A client asks the host's outside address. The rule in DOCKER changes the destination \
         to the container's; the client's own address stays, so the container knows who asked.",
    );
    let server = serve(&s.containers[0], HTTP)?;
    let before = s.switch.rules()?;
    let page = get(t, &s.outside, UPLINK, PUBLISHED, "hello from web");
    let seen = asked_last(&server);
    t.check(
        format_args!("web saw the client's own address: {}", shown(seen)),
        page.as_ref()
            .is_some_and(|p| Some(p.local) == seen && p.local.ip() == OUTSIDE),
    );
    if let Some(p) = page
        && let Some(c) = tracked(s, p.local)?
    {
        show_tracked(t, &c);
        t.check(
            format_args!("asked for {UPLINK}:{PUBLISHED}, led to {WEB}:{HTTP}"),
            (c.orig.dst, c.orig.dport) == (UPLINK, Some(PUBLISHED))
                && (c.reply.src, c.reply.sport) == (WEB, Some(HTTP)),
        );
    }
    let m = show_moved(t, s, &before)?;
    t.check(
        "the DNAT rule counted one connection",
        packets(&m, "DOCKER", "DNAT") == 1,
    );
    Ok(())
}

/// Step 7.
pub fn from_the_host(t: &mut Tale, s: &Stage) -> Told {
    t.step(
        "From the host itself: localhost, and two TCP streams",
        "curl localhost:8080 on a Docker host ends at docker-proxy, which opens a second \
         connection to the container, with docker0's address as source. switchd listens on the \
         host and does the same by sw0.",
    );
    let server = serve(&s.containers[0], HTTP)?;
    let before = s.switch.rules()?;
    let page = get(t, &s.host, Ipv4Addr::LOCALHOST, PUBLISHED, "hello from web");
    let seen = asked_last(&server);
    if let Some(p) = &page {
        t.saw(format_args!(
            "first stream, on lo:   {} -> {}",
            p.local, p.peer
        ));
        t.saw(format_args!(
            "second stream, by sw0: {} -> {WEB}:{HTTP}",
            shown(seen)
        ));
        t.check(
            "the first stays on the loopback",
            p.local.ip().is_loopback() && p.peer.ip().is_loopback(),
        );
    }
    t.check(
        format_args!("web saw the gateway {GATEWAY} as its client"),
        seen.is_some_and(|a| a.ip() == GATEWAY),
    );
    let m = moved(&before, &s.switch.rules()?);
    t.check(
        "the DNAT rule counted nothing",
        packets(&m, "DOCKER", "DNAT") == 0,
    );
    Ok(())
}

/// Step 8.
pub fn to_outside(t: &mut Tale, s: &Stage) -> Told {
    let [_, _, db] = &s.containers;
    t.step(
        "From a container to the outside: MASQUERADE",
        "Nobody outside knows 10.0.0.0/24. The rule in POSTROUTING replaces the container's \
         address with the host's outside one, and answers find their way back.",
    );
    let server = serve(&s.outside, HTTP)?;
    let before = s.switch.rules()?;
    let pings = db.inside(|| ping(OUTSIDE, 3, 56, PATIENCE))?;
    if let Some(p) = t.attempt("db pings the outside", pings) {
        t.check(
            format_args!(
                "db pings {OUTSIDE}: {} of {} answered, ttl {}: a router is on the way",
                p.answered, p.sent, p.ttl
            ),
            p.all() && p.ttl == 63,
        );
    }
    let page = get(t, db, OUTSIDE, HTTP, "hello from outside");
    let seen = asked_last(&server);
    t.check(
        format_args!("outside saw {} instead of {DB}", shown(seen)),
        seen.is_some_and(|a| a.ip() == UPLINK),
    );
    if let Some(p) = page
        && let Some(c) = tracked(s, p.local)?
    {
        show_tracked(t, &c);
        t.check(
            format_args!("answers come to {UPLINK} and are led back to {DB}"),
            c.reply.dst == UPLINK && c.orig.src == DB,
        );
    }
    let m = show_moved(t, s, &before)?;
    t.check(
        "the MASQUERADE rule counted two connections: the pings and the page",
        packets(&m, "POSTROUTING", "MASQUERADE") == 2,
    );
    Ok(())
}

/// Step 10.
pub fn account(t: &mut Tale, s: &Stage) -> Told {
    t.step(
        "The account",
        "The rules once more, and every frame that the switch ever read or made: it was sent on, \
         taken, or dropped for a reason with a name.",
    );
    t.saw(render::rules::render(&s.switch.rules()?));
    let mut stats = s.switch.stats()?;
    // Frames may be under way while the counters are read.
    for _ in 0..500 {
        if stats.balance.holds {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        stats = s.switch.stats()?;
    }
    let c = &stats.total;
    t.check(
        format_args!(
            "{} read + {} made + {} copies = {} sent + {} dropped + {} taken + {} waiting",
            c.rx, c.originated, c.copies, c.tx, c.drops, c.consumed, c.held
        ),
        stats.balance.holds,
    );
    for d in stats.drops.iter().filter(|d| d.frames > 0) {
        t.saw(format_args!("dropped {}: {}", d.frames, d.sentence));
    }
    Ok(())
}
