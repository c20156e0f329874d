//! The dataplane's reports as the API's types. Pure functions: what is not in the report comes
//! as an argument.

use super::types;
use crate::forward::RelayReport;
use crate::plan::Network;
use crate::uplink::sockets::SocketsReport;
use crate::workers::{Tables, Totals};
use dataplane::base::{Proto, Reason, RuleId, Tuple};
use dataplane::conntrack::ConnReport;
use dataplane::flow::Zone;
use dataplane::l2::FdbReport;
use dataplane::nat::{NatReport, Publication, RuleReport};
use dataplane::neigh::{NeighReport, NeighState};

const ANY: &str = "0.0.0.0/0";

/// A published port; `localhost` says whether the host listens on it.
pub fn publication(r: &RuleReport, localhost: bool) -> types::Publication {
    let p = &r.publication;
    types::Publication {
        id: r.id.0,
        spec: p.to_string(),
        proto: p.proto.name(),
        host_ip: p.host_ip,
        first: p.first,
        last: p.last,
        ip: p.ip,
        port: p.port,
        localhost,
        dnat: r.dnat.into(),
    }
}

/// An entry of the forwarding database behind the port of this name.
pub fn fdb(r: &FdbReport, port: String, network: &Network) -> types::FdbEntry {
    let bridge = network.bridge.to_string();
    types::FdbEntry {
        mac: r.mac.to_string(),
        vlan: r.vid,
        permanent: r.is_static && port == bridge,
        port,
        bridge,
        is_static: r.is_static,
        idle_ms: r.idle_ms,
    }
}

/// A neighbour; `uplink` is the name of the uplink's port.
pub fn neighbour(r: &NeighReport, network: &Network, uplink: &str) -> types::Neighbour {
    types::Neighbour {
        ip: r.ip,
        mac: r.mac.map(|m| m.to_string()),
        device: match r.zone {
            Zone::Inside => network.bridge.to_string(),
            Zone::Uplink => uplink.to_owned(),
        },
        state: match r.state {
            NeighState::Incomplete => "INCOMPLETE",
            NeighState::Reachable => "REACHABLE",
            NeighState::Stale => "STALE",
            NeighState::Failed => "FAILED",
            NeighState::Permanent => "PERMANENT",
        }
        .to_owned(),
        idle_ms: r.idle_ms,
    }
}

/// A tracked connection.
pub fn connection(r: &ConnReport) -> types::Connection {
    types::Connection {
        proto: r.orig.proto.name(),
        proto_number: r.orig.proto.0,
        expires_ms: r.expires_ms,
        state: r.state.to_owned(),
        orig: tuple(&r.orig, 8, r.orig.sport),
        reply: tuple(&r.reply, 0, r.reply.dport),
        replied: r.replied,
        assured: r.assured,
        publication: (r.rule != RuleId::NONE).then_some(r.rule.0),
    }
}

/// The dataplane keeps the identifier of an echo where other protocols have a port.
fn tuple(t: &Tuple, icmp_type: u8, icmp_id: u16) -> types::Tuple {
    let ports = matches!(t.proto, Proto::TCP | Proto::UDP);
    let icmp = t.proto == Proto::ICMP;
    types::Tuple {
        src: t.src,
        dst: t.dst,
        sport: ports.then_some(t.sport),
        dport: ports.then_some(t.dport),
        icmp_type: icmp.then_some(icmp_type),
        icmp_id: icmp.then_some(icmp_id),
    }
}

/// The five chains that a Docker host has, with what the switch counted.
///
/// Hits of the jumps to DOCKER are those of the rules in there: a first packet that no rule of
/// DOCKER takes goes back and is counted by the policy.
pub fn rules(r: &NatReport, network: &Network) -> types::Rules {
    let bridge = network.bridge.as_str();
    let led = r
        .rules
        .iter()
        .fold((0, 0), |(p, b), rule| (p + rule.dnat.0, b + rule.dnat.1));
    let jump = |count, destination: &str| types::Rule {
        extra: "ADDRTYPE match dst-type LOCAL".to_owned(),
        ..rule(count, "DOCKER", "all", ["*", "*", ANY, destination])
    };
    let mut postrouting = vec![rule(
        r.masquerade,
        "MASQUERADE",
        "all",
        ["*", &format!("!{bridge}"), &network.subnet.to_string(), ANY],
    )];
    let mut docker = vec![rule((0, 0), "RETURN", "all", [bridge, "*", ANY, ANY])];
    for published in &r.rules {
        let p = &published.publication;
        let proto = p.proto.name();
        let ip = p.ip.to_string();
        postrouting.push(types::Rule {
            publication: Some(published.id.0),
            extra: format!("{proto} {}", ports(inside(p))),
            ..rule(
                published.masquerade,
                "MASQUERADE",
                &proto,
                ["*", "*", &ip, &ip],
            )
        });
        let to = match inside(p) {
            (a, b) if a == b => format!("{ip}:{a}"),
            (a, b) => format!("{ip}:{a}-{b}"),
        };
        let local = p.host_ip.map_or_else(|| ANY.to_owned(), |h| h.to_string());
        docker.push(types::Rule {
            publication: Some(published.id.0),
            extra: format!("{proto} {} to:{to}", ports((p.first, p.last))),
            ..rule(
                published.dnat,
                "DNAT",
                &proto,
                [&format!("!{bridge}"), "*", ANY, &local],
            )
        });
    }
    let chain = |name: &str, policy: (u64, u64), rules| types::Chain {
        name: name.to_owned(),
        policy: Some(policy.into()),
        references: None,
        rules,
    };
    types::Rules {
        chains: vec![
            chain("PREROUTING", r.prerouting, vec![jump(led, ANY)]),
            chain("INPUT", r.input, Vec::new()),
            chain("OUTPUT", r.output, vec![jump((0, 0), "!127.0.0.0/8")]),
            chain("POSTROUTING", r.postrouting, postrouting),
            types::Chain {
                name: "DOCKER".to_owned(),
                policy: None,
                references: Some(2),
                rules: docker,
            },
        ],
    }
}

/// A rule without an owner and without further matches; `at` is in, out, source, destination.
fn rule(count: (u64, u64), target: &str, proto: &str, at: [&str; 4]) -> types::Rule {
    let [input, output, source, destination] = at.map(str::to_owned);
    types::Rule {
        publication: None,
        count: count.into(),
        target: target.to_owned(),
        proto: proto.to_owned(),
        input,
        output,
        source,
        destination,
        extra: String::new(),
    }
}

/// The container's ports of a publication.
fn inside(p: &Publication) -> (u16, u16) {
    (
        p.port,
        p.port.saturating_add(p.last.saturating_sub(p.first)),
    )
}

/// As the tcp and udp matches of iptables print them.
fn ports((first, last): (u16, u16)) -> String {
    match first == last {
        true => format!("dpt:{first}"),
        false => format!("dpts:{first}:{last}"),
    }
}

/// Every counter.
pub fn stats(
    total: &Totals,
    workers: &[Totals],
    tables: &Tables,
    relay: Option<RelayReport>,
    sockets: Option<SocketsReport>,
) -> types::Stats {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let came = signed(total.rx + total.originated + total.copies);
    let went = signed(total.tx + total.dropped() + total.consumed).saturating_add(total.held);
    types::Stats {
        balance: types::Balance {
            came,
            went,
            holds: came == went,
        },
        total: counters(total),
        workers: workers.iter().map(counters).collect(),
        drops: Reason::ALL
            .iter()
            .map(|r| types::Drop {
                reason: r.symbol().to_owned(),
                sentence: r.sentence().to_owned(),
                frames: total.drops(*r),
            })
            .collect(),
        tables: types::Tables {
            connections: tables.connections.into(),
            external_ports: {
                let e = tables.external_ports;
                u64::from(e.tcp) + u64::from(e.udp) + u64::from(e.icmp)
            },
            neighbours: tables.neighbours as u64,
            fdb: tables.fdb as u64,
            fdb_learned: tables.fdb_counts.learned,
            fdb_moved: tables.fdb_counts.moved,
            fdb_evicted: tables.fdb_counts.evicted,
            fdb_aged: tables.fdb_counts.aged,
        },
        localhost: relay.map(localhost),
        sockets,
    }
}

fn localhost(r: RelayReport) -> types::Localhost {
    types::Localhost {
        listeners: r.listeners,
        connections: r.connections,
        accepted: r.accepted,
        refused: r.refused,
        reset: r.reset,
        bytes_in: r.bytes_in,
        bytes_out: r.bytes_out,
        sessions: r.sessions,
        datagrams_in: r.datagrams_in,
        datagrams_out: r.datagrams_out,
        datagrams_dropped: r.datagrams_dropped,
    }
}

fn counters(t: &Totals) -> types::Counters {
    types::Counters {
        rx: t.rx,
        tx: t.tx,
        drops: t.dropped(),
        consumed: t.consumed,
        originated: t.originated,
        copies: t.copies,
        held: t.held,
        hits: t.hits,
        slow: t.slow,
        bridged: t.bridged,
        flooded: t.flooded,
        batches: t.batches,
        coalesced_writes: t.coalesced_writes,
        segments: t.segments,
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
