//! Any sequence of segments gets the same verdicts from the record and from the plain model.

use super::model::Model;
use super::*;
use proptest::prelude::*;

/// A segment in terms of what was said before, so that most are near something.
#[derive(Clone, Debug)]
struct Op {
    me: usize,
    flags: u8,
    seq_from: u8,
    seq_off: i64,
    ack_from: u8,
    ack_off: i64,
    len: u32,
    window: u16,
}

fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => Just(0_i64),
        3 => -2..3_i64,
        2 => -140_000..140_000_i64,
        1 => Just(65_535_i64),
        1 => any::<u32>().prop_map(i64::from),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![
        3 => Just(SYN),
        3 => Just(SYN | ACK),
        8 => Just(ACK),
        4 => Just(ACK | PSH),
        3 => Just(FIN | ACK),
        1 => Just(RST),
        1 => Just(RST | ACK),
        1 => any::<u8>(),
    ];
    let len = prop_oneof![3 => Just(0_u32), 3 => 1..1461_u32, 1 => 1461..65_536_u32];
    let window = prop_oneof![Just(64_240_u16), any::<u16>(), Just(0), Just(65_535)];
    (
        0..2_usize,
        flags,
        0..6_u8,
        offset(),
        0..4_u8,
        offset(),
        len,
        window,
    )
        .prop_map(
            |(me, flags, seq_from, seq_off, ack_from, ack_off, len, window)| Op {
                me,
                flags,
                seq_from,
                seq_off,
                ack_from,
                ack_off,
                len,
                window,
            },
        )
}

impl Op {
    fn segment(&self, m: &Model, isn: [u32; 2]) -> Tcp {
        let (own, other) = (&m.sides[self.me], &m.sides[1 - self.me]);
        let own_end = own.as_ref().map_or(isn[self.me], |s| s.end);
        let seq = match self.seq_from {
            _ if self.flags & SYN != 0 && self.seq_from < 4 => {
                own.as_ref().map_or(isn[self.me], |s| s.syn.wrapping_sub(1))
            }
            0 => other.as_ref().and_then(|o| o.ack).unwrap_or(own_end),
            1 => isn[self.me],
            _ => own_end,
        };
        let ack = match self.ack_from {
            0 => other.as_ref().map_or(isn[1 - self.me], |o| o.syn),
            _ => other.as_ref().map_or(isn[1 - self.me], |o| o.end),
        };
        Tcp {
            window: self.window,
            ..seg(
                self.flags,
                seq.wrapping_add(self.seq_off as u32),
                ack.wrapping_add(self.ack_off as u32),
                self.len,
            )
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_record_and_a_plain_model_agree(
        isn in any::<[u32; 2]>(),
        scales in [prop::option::of(0..16_u8), prop::option::of(0..16_u8)],
        pickup in prop::bool::weighted(0.1),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let conn = Conn::blank();
        let headers = scales.map(scale_option);
        let parsed = scales.map(|s| s.map(|s| s.min(14)));
        let first = seg(if pickup { ACK } else { SYN }, isn[0], isn[1], 0);
        let mut m = Model::open(&first, parsed[0], pickup).expect("opens");
        open(&conn.0, &first, Some(syn_options(&headers[0])), pickup).expect("opens");
        for op in ops {
            let t = op.segment(&m, isn);
            let before = m.clone();
            let want = m.segment(op.me, &t, parsed[op.me]);
            let got = segment(&conn.0, Dir::BOTH[op.me], &t, &headers[op.me]);
            prop_assert_eq!(got, want, "{} {:?} on {:?}", op.me, t, before);
            prop_assert_eq!(conn.state(), m.state);
            if want == Verdict::Reopen {
                let options = Some(syn_options(&headers[0]));
                let again = open(&conn.0, &t, options, pickup).map(|_| ());
                prop_assert_eq!(again, Model::open(&t, parsed[0], pickup).map(|n| m = n));
            }
        }
    }

    #[test]
    fn opening_agrees(t in op(), seq in any::<u32>(), pickup in any::<bool>()) {
        let t = Tcp { window: t.window, ..seg(t.flags, seq, !seq, t.len) };
        let got = open(&Conn::blank().0, &t, None, pickup);
        prop_assert_eq!(got, Model::open(&t, None, pickup).map(|m| m.state));
    }
}
