//! The smallest sequence that was found for each difference from Linux that we mean: it is met, and
//! nothing else. Found by `oracle --case NAME`.

use switchd_tests::oracle::known;
use switchd_tests::oracle::run::Runner;
use switchd_tests::oracle::sequence::Kind::*;
use switchd_tests::oracle::sequence::Segment::*;
use switchd_tests::oracle::sequence::Speaker::*;
use switchd_tests::oracle::sequence::Step::*;
use switchd_tests::oracle::sequence::Way::*;
use switchd_tests::oracle::sequence::{
    Again as How, Fault, Flow, Form, Kind, Said, Segment, Sequence, Speaker, Step, Way,
};
use switchd_tests::scenario;

const PLAIN: Form = Form::PLAIN;

const fn flow(kind: Kind, client: usize, far: bool, way: Way, ports: (u16, u16)) -> Flow {
    let (sport, dport) = ports;
    Flow {
        kind,
        client,
        far,
        way,
        sport,
        dport,
    }
}

const fn said(segment: Segment, off: (i32, i32), len: u16, window: u16, scale: u8) -> Said {
    let (seq, ack) = off;
    Said {
        segment,
        seq,
        ack,
        len,
        window,
        scale,
    }
}

const fn fault(
    at_server: bool,
    what: (u8, u8),
    mtu: u16,
    quote: u16,
    speaker: Speaker,
    damage: u8,
) -> Fault {
    Fault {
        at_server,
        what,
        mtu,
        quote,
        speaker,
        damage,
    }
}

fn case(name: &str, published: &[u8], flows: &[Flow], steps: Vec<Step>) -> (String, Sequence) {
    let (published, flows) = (published.to_vec(), flows.to_vec());
    (
        name.to_owned(),
        Sequence {
            published,
            flows,
            steps,
        },
    )
}

#[rustfmt::skip]
fn cases() -> Vec<(String, Sequence)> {
    vec![
        case("checksum-not-judged", &[1], &[flow(Tcp, 3, false, Slot(3), (41234, 53)), flow(Udp, 3, false, Slot(1), (1023, 9000))], vec![Say(1, true, Said::plain(Ack, 0), Form { checksum: 1, ..PLAIN })]),
        case("options-not-filled", &[], &[flow(Tcp, 2, false, Slot(3), (40001, 9000)), flow(Tcp, 2, false, Slot(3), (500, 53)), flow(Echo, 1, true, Slot(0), (41234, 9000))], vec![Say(2, true, Said::plain(Ack, 0), Form { options: 1, ..PLAIN })]),
        case("bad-options-silent", &[], &[flow(Tcp, 0, true, Out(false), (40001, 53))], vec![Say(0, true, Said::plain(Ack, 0), Form { options: 5, ..PLAIN })]),
        case("errors-without-ecn", &[2], &[flow(Udp, 3, true, Slot(2), (40001, 9000))], vec![Say(0, true, Said::plain(Ack, 3000), Form { tos: 3, ..PLAIN })]),
        case("errors-quote-a-fragment", &[], &[flow(Udp, 0, false, Slot(0), (40000, 53))], vec![Say(0, false, Said::plain(Ack, 1300), Form { df: false, fragments: Some((10, 0)), ..PLAIN })]),
        case("error-inside-judged", &[1], &[flow(Tcp, 1, false, Slot(1), (41234, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Error(0, fault(true, (3, 4), 1280, 8, End, 2))]),
        case("tiny-first-fragment", &[], &[flow(Tcp, 0, false, Out(true), (1023, 53))], vec![Say(0, true, Said::plain(Syn, 0), Form { df: false, fragments: Some((1, 0)), ..PLAIN })]),
        case("fragments-limited", &[], &[flow(Echo, 1, false, Out(true), (500, 9000))], vec![Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 3000), Form { df: false, fragments: Some((1, 2)), ..PLAIN })]),
        case("published-port-as-source", &[1], &[flow(Udp, 0, false, Bridged(2), (1023, 53)), flow(Udp, 3, false, Slot(1), (40000, 9000))], vec![Say(1, false, Said::plain(Ack, 0), PLAIN)]),
        case("errors-quote-unfinished-checksums", &[0], &[flow(Udp, 3, false, Slot(0), (40000, 9000))], vec![Say(0, true, Said::plain(Ack, 3000), Form { partial: true, ..PLAIN })]),
        case("refused-by-the-first-fragment", &[], &[flow(Udp, 2, false, Slot(1), (40000, 9000))], vec![Say(0, false, Said::plain(Ack, 3000), Form { df: false, fragments: Some((64, 6)), ..PLAIN })]),
        case("malformed-not-bridged", &[], &[flow(Echo, 2, false, Bridged(0), (1023, 53))], vec![Say(0, false, Said::plain(Ack, 30), PLAIN), Again(How::Cut(58))]),
        case("malformed-between-neighbours", &[], &[flow(Echo, 0, false, ByGateway(2), (500, 53))], vec![Say(0, true, Said::plain(Ack, 0), PLAIN), Again(How::Damaged(9, 16, 2))]),
        case("quotes-of-fragments", &[], &[flow(Udp, 1, true, Out(true), (40000, 53))], vec![Say(0, true, Said::plain(Ack, 1300), Form { df: false, fragments: Some((10, 2)), ..PLAIN }), Error(0, fault(true, (3, 3), 1280, 520, Router, 0))]),
        case("tcp-window-refused", &[], &[flow(Tcp, 1, true, Out(true), (40001, 9000))], vec![Say(0, true, said(Syn, (1, 0), 0, 60000, 0), PLAIN), Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-syn-ack-refused", &[], &[flow(Tcp, 2, false, Out(false), (40001, 53)), flow(Tcp, 3, false, Slot(0), (40000, 53))], vec![Say(1, false, Said::plain(Syn, 0), PLAIN), Say(1, true, Said::plain(Syn, 0), PLAIN), Say(1, false, Said::plain(SynAck, 0), PLAIN)]),
        case("tcp-syn-in-fragments", &[], &[flow(Tcp, 3, false, Slot(2), (1023, 9000))], vec![Say(0, false, Said::plain(Syn, 1400), Form { df: false, fragments: Some((3, 0)), ..PLAIN }), Say(0, true, Said::plain(SynAck, 0), PLAIN)]),
        case("echo-code-not-judged", &[], &[flow(Echo, 2, false, Out(true), (41234, 53))], vec![Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN), Again(How::Damaged(21, 255, 2))]),
        case("superframe-length-not-judged", &[1], &[flow(Udp, 3, false, Slot(1), (1023, 53))], vec![Say(0, true, Said::plain(Ack, 1600), Form { gso: 500, ..PLAIN }), Again(How::Damaged(25, 1, 2))]),
        case("not-translatable", &[], &[flow(Other(50), 3, false, Slot(0), (40001, 53))], vec![Say(0, false, Said::plain(Ack, 30), PLAIN), Again(How::Damaged(59, 1, 2))]),
        case("tcp-one-sided-refused", &[], &[flow(Tcp, 0, false, Out(false), (40001, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(RstAck, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-reopened-after-reset", &[], &[flow(Tcp, 0, true, Out(true), (40000, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, false, Said::plain(Rst, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("unfinished-checksum-computed", &[0], &[flow(Udp, 3, false, Slot(0), (40000, 53))], vec![Say(0, true, Said::plain(Ack, 1300), Form { gso: 500, ..PLAIN }), Again(How::Damaged(27, 128, 0))]),
        case("tcp-late-syn", &[2], &[flow(Tcp, 3, false, Slot(2), (40001, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, false, Said::plain(Fin, 0), PLAIN), Say(0, true, Said::plain(Fin, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN), Say(0, false, said(Syn, (-200_000, 0), 0, 60000, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-late-syn", &[0], &[flow(Tcp, 3, true, Slot(0), (40000, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, false, Said::plain(Fin, 0), PLAIN), Say(0, true, Said::plain(Fin, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN), Say(0, false, said(Syn, (-200_000, 0), 0, 60000, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("errors-about-router-messages", &[], &[flow(Echo, 2, false, ByGateway(0), (40000, 9000))], vec![Say(0, true, Said::plain(Ack, 3000), PLAIN), Again(How::Damaged(20, 1, 2))]),
        case("tcp-reset-refused", &[3], &[flow(Udp, 1, true, Out(false), (41234, 53)), flow(Tcp, 2, true, Slot(3), (500, 9000))], vec![Say(1, true, Said::plain(Syn, 0), PLAIN), Say(1, false, Said::plain(Rst, 0), PLAIN)]),
        case("tcp-grace", &[2], &[flow(Echo, 3, false, Slot(2), (40000, 9000)), flow(Tcp, 1, false, Slot(2), (40000, 53))], vec![Say(1, true, Said::plain(Syn, 0), PLAIN), Say(1, false, Said::plain(SynAck, 0), PLAIN), Say(1, true, Said::plain(Ack, 0), PLAIN), Say(1, true, said(Ack, (0, 1), 0, 60000, 0), PLAIN)]),
        case("tcp-reset-passes", &[], &[flow(Tcp, 0, true, Out(false), (1023, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, false, said(RstAck, (0, 100), 0, 60000, 0), PLAIN)]),
        case("ttl-before-tracking", &[3], &[flow(Tcp, 1, false, Slot(3), (500, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), Form { ttl: 1, ..PLAIN })]),
        case("tcp-new-attempt", &[], &[flow(Tcp, 2, false, Out(true), (500, 9000))], vec![Say(0, true, said(Syn, (200_000, 0), 0, 60000, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-ack-after-both-syns", &[], &[flow(Tcp, 3, false, Slot(2), (1023, 53))], vec![Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-attempt-not-reset", &[], &[flow(Tcp, 3, false, Slot(2), (40001, 9000))], vec![Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, false, said(Rst, (-10, 0), 0, 60000, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("tracked-before-refused", &[], &[flow(Tcp, 0, false, Out(true), (1023, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, true, Said::plain(RstAck, 0), Form { ttl: 1, ..PLAIN })]),
        case("another-port-chosen", &[1], &[flow(Udp, 2, false, Slot(1), (40000, 9000)), flow(Udp, 0, false, Slot(1), (40000, 9000))], vec![Say(1, true, Said::plain(Ack, 1600), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(1, false, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-grace", &[], &[flow(Tcp, 0, true, Out(true), (41234, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, true, Said::plain(Syn, 1), PLAIN), Say(0, false, said(SynAck, (0, -1), 0, 60000, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("tracked-before-refused", &[], &[flow(Tcp, 3, false, Slot(2), (500, 53))], vec![Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(SynAck, 0), Form { options: 3, ..PLAIN })]),
        case("tcp-window-refused", &[], &[flow(Tcp, 2, false, Out(true), (40000, 53)); 2], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(1, true, Said::plain(Fin, 0), PLAIN)]),
        case("tcp-syn-passes", &[], &[flow(Tcp, 0, false, Out(true), (1023, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Syn, 0), PLAIN)]),
        case("fragments-carried-at-once", &[], &[flow(Udp, 0, false, Out(true), (1023, 9000))], vec![Say(1, true, Said::plain(Ack, 1), Form { df: false, fragments: Some((1, 4)), ..PLAIN })]),
        case("another-port-chosen", &[], &[flow(Udp, 3, true, Slot(1), (40000, 9000)), flow(Udp, 3, false, Slot(3), (500, 53))], vec![Say(0, false, Said::plain(Ack, 0), PLAIN), Say(1, false, Said::plain(Ack, 0), Form { options: 2, ..PLAIN })]),
        case("fragments-of-contrary-marks", &[], &[flow(Udp, 2, false, Out(false), (40000, 9000))], vec![Say(0, true, Said::plain(Ack, 1), Form { fragments: Some((1, 3)), ..PLAIN }), Again(How::Damaged(1, 255, 2))]),
        case("land", &[], &[flow(Tcp, 0, true, ByGateway(2), (1023, 53))], vec![Say(0, true, Said::plain(Ack, 0), PLAIN), Error(0, fault(true, (12, 0), 0, 8, Router, 0))]),
        case("error-of-another-container", &[1], &[flow(Udp, 2, true, ByGateway(1), (500, 53)), flow(Other(47), 3, false, Slot(1), (40000, 53)), flow(Udp, 1, true, Slot(1), (1023, 53))], vec![Say(2, true, Said::plain(Ack, 0), PLAIN), Say(2, false, Said::plain(Ack, 0), PLAIN), Error(2, fault(false, (12, 0), 576, 8, Router, 0))]),
        case("nat-clash-refused", &[], &[flow(Udp, 3, false, Slot(1), (500, 53))], vec![Say(0, false, Said::plain(Ack, 0), PLAIN), Publish(1), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("rules-before-ttl-and-mtu", &[], &[flow(Echo, 2, false, Out(false), (40000, 9000)), flow(Echo, 3, true, Slot(3), (40000, 9000))], vec![Say(1, false, Said::plain(Ack, 3000), PLAIN)]),
        case("tcp-refused-lingers", &[], &[flow(Tcp, 2, false, Out(false), (40000, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(RstAck, 0), PLAIN), Error(0, fault(true, (12, 0), 576, 64, Router, 0))]),
        case("gre-version-not-judged", &[], &[flow(Other(47), 3, false, Slot(1), (40001, 9000))], vec![Say(0, false, Said::plain(Ack, 0), PLAIN), Again(How::Damaged(21, 1, 0))]),
        case("options-not-filled, options-not-filled", &[], &[flow(Other(50), 3, false, Slot(3), (41234, 9000))], vec![Say(0, false, Said::plain(Ack, 0), PLAIN), Say(0, true, Said::plain(Ack, 1600), Form { options: 2, ..PLAIN }), Again(How::Damaged(21, 1, 1))]),
        case("options-not-filled, quotes-of-fragments", &[], &[flow(Echo, 2, false, Out(false), (40000, 53))], vec![Say(0, true, Said::plain(Ack, 3000), Form { df: false, options: 4, ..PLAIN }), Error(0, fault(true, (3, 0), 576, 8, Router, 0))]),
        case("tcp-syn-in-fragments", &[2], &[flow(Tcp, 3, true, Slot(2), (1023, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, false, Said::plain(Ack, 100), Form { df: false, fragments: Some((10, 1)), ..PLAIN }), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("another-port-chosen", &[3], &[flow(Udp, 2, false, Slot(3), (500, 9000))], vec![Say(1, false, Said::plain(Ack, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN), Again(How::Damaged(9, 128, 2))]),
        case("another-port-chosen", &[], &[flow(Udp, 1, true, Out(false), (500, 9000)), flow(Udp, 2, false, Out(false), (500, 9000))], vec![Say(0, true, Said::plain(Ack, 3000), PLAIN), Say(1, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-reset-passes", &[], &[flow(Tcp, 0, true, Out(true), (41234, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, said(Syn, (-200_000, 0), 0, 60000, 0), PLAIN), Say(0, false, Said::plain(RstAck, 0), PLAIN)]),
        case("tcp-reset-unheeded", &[], &[flow(Tcp, 3, false, Slot(2), (1023, 9000))], vec![Say(0, false, said(Syn, (1400, 0), 0, 60000, 0), PLAIN), Say(0, true, said(Syn, (0, 0), 0, 1, 0), PLAIN), Say(0, false, Said::plain(RstAck, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN)]),
        case("tcp-syn-in-fragments", &[], &[flow(Tcp, 1, true, Out(true), (41234, 9000))], vec![Say(0, true, Said::plain(Syn, 3000), Form { df: false, fragments: Some((64, 2)), ..PLAIN }), Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(Rst, 0), PLAIN)]),
        case("tcp-attempt-not-reset", &[1], &[flow(Tcp, 0, false, Slot(1), (40000, 53))], vec![Say(0, true, Said::plain(Syn, 100), Form { df: false, fragments: Some((3, 1)), ..PLAIN }), Say(0, true, Said::plain(Rst, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-new-attempt", &[3], &[flow(Tcp, 3, false, Slot(3), (40000, 53))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Again(How::Damaged(24, 128, 2)), Say(0, true, Said::plain(Syn, 0), PLAIN)]),
        case("refused-keeps-no-port", &[1], &[flow(Udp, 1, false, Slot(1), (500, 53)), flow(Udp, 2, true, Slot(1), (500, 53))], vec![Say(1, false, Said::plain(Ack, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(1, false, Said::plain(Ack, 0), PLAIN)]),
        case("refused-keeps-no-port", &[0], &[flow(Udp, 2, false, Slot(0), (41234, 53)), flow(Udp, 2, true, Slot(0), (41234, 9000))], vec![Say(0, false, Said::plain(Ack, 0), PLAIN), Say(1, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("refused-keeps-no-port", &[2], &[flow(Udp, 1, false, Slot(2), (40000, 53)), flow(Udp, 0, true, Slot(2), (40000, 9000))], vec![Say(1, false, Said::plain(Ack, 0), PLAIN), Say(1, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 3000), PLAIN)]),
        case("external-port-not-shared", &[], &[flow(Echo, 2, false, Out(false), (40000, 9000)), flow(Echo, 0, true, Out(true), (40000, 53))], vec![Say(1, true, Said::plain(Ack, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Stray(0, true, 9001)]),
        case("checksum-not-judged", &[], &[flow(Other(4), 0, false, Out(false), (40000, 53))], vec![Say(0, true, Said::plain(Ack, 30), PLAIN), Again(How::Damaged(9, 128, 1))]),
        case("tcp-syn-in-fragments", &[], &[flow(Tcp, 3, false, Slot(2), (1023, 9000))], vec![Say(0, false, Said::plain(Syn, 1400), Form { df: false, fragments: Some((3, 0)), ..PLAIN }), Say(0, true, Said::plain(RstAck, 0), PLAIN)]),
        case("tcp-grace", &[], &[flow(Tcp, 0, false, Out(false), (1023, 9000))], vec![Say(0, true, said(Syn, (0, 0), 0, 60000, 1), PLAIN), Say(0, false, said(SynAck, (0, 0), 0, 60000, 8), PLAIN), Say(0, false, said(Ack, (0, -70_000), 1, 60000, 0), PLAIN), Say(0, true, said(Ack, (-200_000, 0), 0, 60000, 0), PLAIN)]),
        case("bad-options-silent", &[3], &[flow(Tcp, 1, false, Slot(3), (40000, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(Ack, 1), PLAIN), Say(0, false, said(Syn, (0, 0), 0, 1, 0), Form { df: false, options: 5, ..PLAIN }), Say(0, true, Said::plain(Syn, 0), PLAIN)]),
        case("tcp-reset-unheeded", &[0], &[flow(Tcp, 3, false, Slot(0), (1023, 53))], vec![Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, false, said(RstAck, (0, -1_000_000_000), 1, 60000, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, false, Said::plain(Ack, 0), PLAIN)]),
        case("tcp-syn-ack-refused", &[], &[flow(Tcp, 3, false, Slot(2), (40000, 53)), flow(Tcp, 3, false, Slot(2), (40000, 53))], vec![Say(0, false, said(Syn, (200_000, 0), 0, 60000, 0), PLAIN), Say(1, true, Said::plain(Syn, 0), PLAIN), Say(1, false, Said::plain(SynAck, 0), PLAIN)]),
        case("another-port-chosen", &[], &[flow(Udp, 3, false, Slot(1), (40000, 9000)), flow(Udp, 3, false, Slot(3), (41234, 53))], vec![Say(0, false, Said::plain(Ack, 0), PLAIN), Say(1, false, Said::plain(Ack, 0), PLAIN)]),
    ]
}

scenario!(each_difference_is_met_by_its_case, || {
    let mut runner = Runner::new().expect("a namespace with the kernel's NAT");
    for (name, sequence) in cases() {
        let o = runner.run(&sequence, 1).expect("a kernel that goes on");
        assert_eq!(o.unexplained, None, "{name}");
        assert_eq!(o.known.join(", "), name, "{sequence}");
    }
});

/// Sequences that once met a difference, and no longer do.
#[rustfmt::skip]
fn mended() -> Vec<(String, Sequence)> {
    vec![
        case("the other side opens after a RST of who had opened", &[0], &[flow(Tcp, 3, false, Slot(0), (41234, 53))], vec![Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(Rst, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN)]),
        case("and the connection opens", &[0], &[flow(Tcp, 3, false, Slot(0), (41234, 53))], vec![Say(0, false, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(Rst, 0), PLAIN), Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, said(SynAck, (5000, 0), 0, 60000, 0), PLAIN), Say(0, true, said(Ack, (0, 5001), 0, 60000, 0), PLAIN)]),
        case("an echo reply has no reserved bit", &[], &[flow(Echo, 2, true, Slot(1), (1023, 53))], vec![Say(0, true, Said::plain(Ack, 1), PLAIN), Again(How::Damaged(35, 128, 1))]),
        case("a server does not learn its client's port from a reset", &[], &[flow(Tcp, 2, true, Slot(0), (41234, 53))], vec![Say(0, true, Said::plain(Syn, 0), Form { partial: true, ..PLAIN }), Again(How::Damaged(39, 16, 1)), Say(0, false, Said::plain(Syn, 0), PLAIN)]),
        case("a server that forgot takes the data of a new SYN", &[0], &[flow(Tcp, 3, false, Slot(0), (40001, 9000))], vec![Say(0, true, Said::plain(Syn, 0), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN), Say(0, true, Said::plain(Ack, 0), PLAIN), Say(0, false, said(Rst, (100, 0), 0, 60000, 0), PLAIN), Say(0, true, Said::plain(Syn, 1), PLAIN), Say(0, false, Said::plain(SynAck, 0), PLAIN)]),
    ]
}

scenario!(what_was_mended_stays_so, || {
    let mut runner = Runner::new().expect("a namespace with the kernel's NAT");
    for (name, sequence) in mended() {
        let o = runner.run(&sequence, 1).expect("a kernel that goes on");
        assert_eq!(o.unexplained, None, "{name}");
        assert!(o.known.is_empty(), "{name}: {:?}", o.known);
    }
});

#[test]
fn each_difference_has_a_case() {
    let cases = cases();
    let names = known::all()
        .map(|d| d.name)
        .chain([known::IN_PART, known::TRACKED_FIRST]);
    for name in names {
        assert!(cases.iter().any(|c| c.0 == name), "{name}");
    }
}
