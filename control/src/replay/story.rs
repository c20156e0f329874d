//! The lines that are printed.

use super::capture::{Capture, Packet};
use super::lab::{Fate, Lab, Output, Setup};
use super::{Replay, words};
use dataplane::base::Reason;
use dataplane::base::counters::Totals;
use dataplane::frame::VnetHdr;
use dataplane::slow::Verdict;
use std::io::{self, Write};

/// Replays the capture and prints a line for each frame, then the counters. What left the switch
/// is given to `sent`. The result inside says whether every frame is accounted for.
pub(super) fn tell(
    replay: &mut Replay,
    capture: &Capture,
    setup: &Setup,
    mut out: impl Write,
    mut sent: impl FnMut(Vec<Output>),
) -> io::Result<Result<(), String>> {
    let origin = capture.packets.first().map_or(0, |p| p.at);
    for (n, packet) in capture.packets.iter().enumerate() {
        let before = replay.lab().totals();
        let timed = replay.advance_to(packet);
        timers(&mut out, setup, &timed, &before, &replay.lab().totals())?;
        sent(timed);

        let before = replay.lab().totals();
        let became = replay.feed(packet, 0);
        let after = replay.lab().totals();
        let port = name(setup, replay.port(packet));
        let seconds = packet.at.saturating_sub(origin) as f64 / 1e9;
        writeln!(
            out,
            "{:>4} {seconds:>11.6} {port}: {}{} -> {}",
            n + 1,
            words::payload(&packet.bytes, &packet.hdr()),
            beside(packet),
            fate(
                setup,
                replay.lab(),
                (&packet.bytes, &packet.hdr()),
                &became,
                (&before, &after),
            ),
        )?;
        sent(became.outputs);
    }
    let before = replay.lab().totals();
    let timed = replay.settle();
    let totals = replay.lab().totals();
    timers(&mut out, setup, &timed, &before, &totals)?;
    sent(timed);
    passed_over(&mut out, capture)?;
    summary(&mut out, &totals)?;
    Ok(totals.balance())
}

/// What the capture says of a packet besides its bytes.
fn beside(packet: &Packet) -> String {
    let mut text = String::new();
    let captured = packet.bytes.len();
    if usize::try_from(packet.original_len).is_ok_and(|n| n > captured) {
        // The switch can't know: to it the frame ends there.
        text += &format!(
            ", the capture has {captured} of its {} bytes",
            packet.original_len
        );
    }
    if let Some(c) = &packet.comment {
        text += &format!(" [{}]", plain(c));
    }
    text
}

/// Text from a file as it may be printed: a terminal would obey its control characters.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn name(setup: &Setup, port: usize) -> String {
    setup
        .ports
        .get(port)
        .map_or("?".to_owned(), |p| plain(&p.name))
}

/// The reasons under which frames were lost between two moments, with how many.
pub(super) fn losses(before: &Totals, after: &Totals) -> Vec<(Reason, u64)> {
    let lost = |r: &Reason| after.drops(*r).saturating_sub(before.drops(*r));
    Reason::ALL
        .iter()
        .map(|r| (*r, lost(r)))
        .filter(|(_, n)| *n > 0)
        .collect()
}

fn reason(r: Reason, n: u64) -> String {
    let times = if n > 1 {
        format!("{n} times ")
    } else {
        String::new()
    };
    format!("{times}{} ({})", r.sentence(), r.symbol())
}

/// What became of a frame, in words. `counted` are the totals before and after the switch had it
/// in hand.
pub fn fate(
    setup: &Setup,
    lab: &Lab,
    fed: (&[u8], &VnetHdr),
    fate: &Fate,
    counted: (&Totals, &Totals),
) -> String {
    let (before, after) = counted;
    let mut lost = losses(before, after);
    let mut rest: Vec<&Output> = fate.outputs.iter().collect();
    let unchanged = |o: &Output| o.frame.bytes() == fed.0 && o.frame.hdr == *fed.1;
    let mut text = match fate.verdict {
        None => "too long for a device to deliver".to_owned(),
        Some(Verdict::Drop(r)) => {
            // Its own loss is told here, others behind.
            if let Some(l) = lost.iter_mut().find(|l| l.0 == r) {
                l.1 -= 1;
            }
            format!("dropped: {}", reason(r, 1))
        }
        Some(Verdict::To(id)) => {
            let port = lab.index(id);
            let (mine, others): (Vec<_>, Vec<_>) = rest.iter().partition(|o| Some(o.port) == port);
            rest = others;
            let to = name(setup, port.unwrap_or(usize::MAX));
            match mine.as_slice() {
                [] => format!("meant for {to}"),
                [o] if unchanged(o) => format!("forwarded to {to} unchanged"),
                [o] => format!("forwarded to {to} as {}", whole(o)),
                [first, ..] => {
                    format!(
                        "forwarded to {to} as {} frames, the first {}",
                        mine.len(),
                        whole(first)
                    )
                }
            }
        }
        Some(Verdict::FloodBut(_)) => {
            let names: Vec<String> = rest.iter().map(|o| name(setup, o.port)).collect();
            let changed = rest.iter().find(|o| !unchanged(o));
            let how = changed.map(|o| format!(", as {}", whole(o)));
            let to = match names.as_slice() {
                [] => "nobody".to_owned(),
                names => names.join(", "),
            };
            let text = format!("flooded to {to}{}", how.unwrap_or_default());
            rest.clear();
            text
        }
        Some(Verdict::Consumed) if after.originated > before.originated => {
            "answered by the switch".into()
        }
        Some(Verdict::Consumed) if after.held < before.held => {
            "taken by the switch, which held frames for it".into()
        }
        Some(Verdict::Consumed) => "taken by the switch".into(),
        Some(Verdict::Held) if after.held > before.held => {
            "held until the neighbour answers or the first fragment comes".into()
        }
        Some(Verdict::Held) => "held, and lost another for it".into(),
        Some(Verdict::Done) => "put out in parts".into(),
    };
    for o in rest {
        text += &format!("; to {}: {}", name(setup, o.port), whole(o));
    }
    for (r, n) in lost.into_iter().filter(|l| l.1 > 0) {
        text += &format!("; lost: {}", reason(r, n));
    }
    text
}

fn whole(o: &Output) -> String {
    words::frame(o.frame.bytes(), &o.frame.hdr)
}

/// What timers did.
fn timers(
    out: &mut impl Write,
    setup: &Setup,
    outputs: &[Output],
    before: &Totals,
    after: &Totals,
) -> io::Result<()> {
    for o in outputs {
        let seconds = o.at.0 as f64 / 1e9;
        let to = name(setup, o.port);
        writeln!(out, "   - {seconds:>11.6} a timer -> to {to}: {}", whole(o))?;
    }
    for (r, n) in losses(before, after) {
        writeln!(out, "   -             a timer -> lost: {}", reason(r, n))?;
    }
    Ok(())
}

/// The packets that no switch could have met.
fn passed_over(out: &mut impl Write, capture: &Capture) -> io::Result<()> {
    for (n, i) in capture.interfaces.iter().enumerate() {
        let Some(why) = i.refused().filter(|_| i.passed_over > 0) else {
            continue;
        };
        let name = i.name.as_deref().map(plain);
        let of = name.unwrap_or_else(|| format!("number {n}"));
        writeln!(
            out,
            "   - {} packets of interface {of} are passed over: {why}",
            i.passed_over
        )?;
    }
    Ok(())
}

fn summary(out: &mut impl Write, t: &Totals) -> io::Result<()> {
    writeln!(out)?;
    writeln!(
        out,
        "{} frames in, {} out; {} bridged, {} flooded, {} routed by a known connection, {} by the slow path",
        t.rx, t.tx, t.bridged, t.flooded, t.hits, t.slow
    )?;
    for r in Reason::ALL {
        let n = t.drops(*r);
        if n > 0 {
            writeln!(out, "{n:>6} {:<20} {}", r.symbol(), r.sentence())?;
        }
    }
    writeln!(
        out,
        "in {} + made {} + copied {} = out {} + dropped {} + consumed {} + held {}: {}",
        t.rx,
        t.originated,
        t.copies,
        t.tx,
        t.dropped(),
        t.consumed,
        t.held,
        if t.balance().is_ok() {
            "nothing is missing"
        } else {
            "FRAMES ARE MISSING"
        }
    )?;
    out.flush()
}
