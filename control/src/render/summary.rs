//! What has no counterpart in other tools: status, ports, publications, statistics.

use crate::api::types::{Port, PortRole, Publication, Stats, Status};
use std::fmt::Write;

/// `status`: a name and a value per line.
pub fn status(s: &Status, ports: &[Publication]) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<12}{value}");
    };
    row("switchd", format!("{} pid {}", s.version, s.pid));
    row("up", duration(s.uptime_ms));
    row(
        "bridge",
        format!("{} {} {} mtu {}", s.bridge, s.gateway, s.gateway_mac, s.mtu),
    );
    row("subnet", s.subnet.clone());
    let host = match s.host_netns.name.as_str() {
        "" => "the namespace it was started in".to_owned(),
        name => name.to_owned(),
    };
    row("host", host);
    row(
        "uplink",
        match &s.uplink {
            None => "none".to_owned(),
            Some(u) if u.peer.contains('/') => {
                format!("{} to {}@{} {}", u.ip, u.interface, u.netns, u.peer)
            }
            Some(u) if u.peer.is_empty() => {
                format!("{} {}, shared with the host", u.interface, u.ip)
            }
            Some(u) => format!(
                "{} {} via {}, shared with the host",
                u.interface, u.ip, u.peer
            ),
        },
    );
    row("localhost", on_off(s.localhost).to_owned());
    row("workers", format!("{} offload {}", s.workers, s.offload));
    row("ports", s.ports.to_string());
    row("connections", s.connections.to_string());
    row("published", s.publications.to_string());
    for p in ports {
        let _ = writeln!(out, "  {}", publication(p));
    }
    out
}

/// One published port: its id and its words.
pub fn publication(p: &Publication) -> String {
    format!("{} {}", p.id, p.spec)
}

/// `ports`: a table.
pub fn ports(ports: &[Port]) -> String {
    let head = [
        "PORT", "ROLE", "ADDRESS", "MAC", "MTU", "RX", "RX BYTES", "TX", "TX BYTES", "DROPS",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for p in ports {
        rows.push([
            p.name.clone(),
            role(p.role).to_owned(),
            p.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
            p.mac.clone(),
            p.mtu.to_string(),
            p.rx_frames.to_string(),
            p.rx_bytes.to_string(),
            p.tx_frames.to_string(),
            p.tx_bytes.to_string(),
            p.drops.to_string(),
        ]);
    }
    table(&rows, 4)
}

/// `stats`: the account of frames, each worker, and each reason that struck.
pub fn stats(s: &Stats) -> String {
    let t = &s.total;
    let mut out = format!(
        "rx {} + originated {} + copies {} = {}\ntx {} + drops {} + consumed {} + held {} = {}\n",
        t.rx,
        t.originated,
        t.copies,
        s.balance.came,
        t.tx,
        t.drops,
        t.consumed,
        t.held,
        s.balance.went,
    );
    out.push_str(match s.balance.holds {
        true => "balanced: every frame is accounted for\n\n",
        false => "not balanced: frames were under way while this was read\n\n",
    });
    let head = [
        "WORKER",
        "RX",
        "TX",
        "DROPS",
        "HITS",
        "SLOW",
        "BRIDGED",
        "FLOODED",
        "BATCHES",
        "COALESCED",
        "SEGMENTS",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let all = s
        .workers
        .iter()
        .enumerate()
        .map(|(i, c)| (i.to_string(), c));
    for (name, c) in all.chain(std::iter::once(("all".to_owned(), t))) {
        let numbers = [
            c.rx,
            c.tx,
            c.drops,
            c.hits,
            c.slow,
            c.bridged,
            c.flooded,
            c.batches,
            c.coalesced_writes,
            c.segments,
        ]
        .map(|n| n.to_string());
        let mut row = std::array::from_fn(|_| String::new());
        for (cell, text) in row.iter_mut().zip(std::iter::once(name).chain(numbers)) {
            *cell = text;
        }
        rows.push(row);
    }
    out.push_str(&table(&rows, 1));
    let tables = &s.tables;
    let _ = write!(
        out,
        "\ntables: {} connections, {} external ports, {} neighbours\n  fdb {} now, {} learned, {} \
         moved, {} aged, {} evicted\n",
        tables.connections,
        tables.external_ports,
        tables.neighbours,
        tables.fdb,
        tables.fdb_learned,
        tables.fdb_moved,
        tables.fdb_aged,
        tables.fdb_evicted,
    );
    if let Some(l) = &s.localhost {
        let _ = write!(
            out,
            "\nlocalhost: {} listeners\n  tcp {} now, {} accepted, {} refused, {} reset, {} \
             bytes in, {} out\n  udp {} now, {} datagrams in, {} out, {} lost\n",
            l.listeners,
            l.connections,
            l.accepted,
            l.refused,
            l.reset,
            l.bytes_in,
            l.bytes_out,
            l.sessions,
            l.datagrams_in,
            l.datagrams_out,
            l.datagrams_dropped,
        );
    }
    if let Some(e) = &s.sockets {
        let _ = write!(
            out,
            "\nsockets: tcp {} now, {} out, {} in, {} refused, {} reset, {} over the limit, {} \
             evicted half-open, {} unknown\n  {} bytes out, {} in, {} sent again, {} held\n  udp {} \
             now, {} datagrams out, {} in, {} lost, {} over the limit\n  echo {} out, {} refused; {} \
             errors in; {} to nowhere, {} not understood, {} fragments lost, {} found a full \
             queue, {} clients as the gateway\n",
            e.tcp_now,
            e.tcp_out,
            e.tcp_in,
            e.tcp_refused,
            e.tcp_reset,
            e.tcp_limit,
            e.half_open_evicted,
            e.tcp_unknown,
            e.bytes_out,
            e.bytes_in,
            e.resent,
            e.bytes_held,
            e.udp_now,
            e.datagrams_out,
            e.datagrams_in,
            e.datagrams_dropped,
            e.udp_limit,
            e.echoes,
            e.echoes_refused,
            e.errors_in,
            e.no_destination,
            e.unknown,
            e.fragments_lost,
            e.queue_full,
            e.clients_masked,
        );
    }
    let lost: Vec<_> = s.drops.iter().filter(|d| d.frames > 0).collect();
    if lost.is_empty() {
        out.push_str("\nno frame was lost\n");
        return out;
    }
    out.push('\n');
    let mut rows = vec![["LOST", "REASON", "MEANING"].map(str::to_owned)];
    for d in lost {
        rows.push([d.frames.to_string(), d.reason.clone(), d.sentence.clone()]);
    }
    out.push_str(&table(&rows, 3));
    out
}

/// Columns of equal width, two spaces between; from column `right` on flush right.
fn table<const N: usize>(rows: &[[String; N]], right: usize) -> String {
    let mut width = [0usize; N];
    for row in rows {
        for (w, cell) in width.iter_mut().zip(row) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (w, cell)) in width.iter().zip(row).enumerate() {
            let w = *w;
            let _ = match i >= right {
                true => write!(line, "{cell:>w$}  "),
                false => write!(line, "{cell:<w$}  "),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

const fn role(r: PortRole) -> &'static str {
    match r {
        PortRole::Access => "access",
        PortRole::Host => "host",
        PortRole::Uplink => "uplink",
    }
}

const fn on_off(b: bool) -> &'static str {
    if b { "on" } else { "off" }
}

/// `1d 2h 3m 4s`, without leading zeros.
fn duration(ms: u64) -> String {
    let s = ms / 1000;
    let parts = [
        (s / 86_400, "d"),
        (s / 3600 % 24, "h"),
        (s / 60 % 60, "m"),
        (s % 60, "s"),
    ];
    let from = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    parts
        .iter()
        .skip(from)
        .map(|(n, u)| format!("{n}{u}"))
        .collect::<Vec<_>>()
        .join(" ")
}
