//! The TCP tracker and the same rules written plainly get the same segments and have to agree.

use arbitrary::{Result, Unstructured};
use bytemuck::Zeroable;
use dataplane::base::Reason;
use dataplane::conntrack::tcp::{State, Verdict, open, segment, syn_options};
use dataplane::flow::{Dir, Record};
use dataplane::frame::parse::Tcp;
use dataplane::frame::parse::tcp_flags::{ACK, FIN, PSH, RST, SYN};

// The model belongs to the tracker's own tests; it needs nothing that is not public.
#[path = "../../../dataplane/src/conntrack/tcp/tests/model.rs"]
mod model;

use model::Model;

/// The bytes choose segments near what was said before.
pub fn tcp(data: &[u8]) {
    let _ = play(&mut Unstructured::new(data));
}

fn header(scale: Option<u8>) -> Vec<u8> {
    let mut h = vec![0; 20];
    h.extend(scale.map(|s| [3, 3, s, 1]).unwrap_or_default());
    h[12] = (h.len() as u8 / 4) << 4;
    h
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let isn: [u32; 2] = u.arbitrary()?;
    let scales: [Option<u8>; 2] = u.arbitrary()?;
    let pickup = u.ratio(1, 8)?;
    let headers = scales.map(header);
    let scales = scales.map(|s| s.map(|s| s.min(14)));
    let record: Record = Zeroable::zeroed();
    let first = Tcp {
        seq: isn[0],
        ack: isn[1],
        window: u.arbitrary()?,
        flags: if pickup { ACK } else { SYN },
        header_len: 20,
        payload: 0,
    };
    let mut m = Model::open(&first, scales[0], pickup).expect("a first segment");
    let state = open(&record, &first, Some(syn_options(&headers[0])), pickup);
    assert_eq!(state, Ok(m.state));
    for _ in 0..200 {
        if u.is_empty() {
            break;
        }
        let me = usize::from(u.arbitrary::<bool>()?);
        let t = next(u, &m, me, isn)?;
        let before = m.clone();
        let want = m.segment(me, &t, scales[me]);
        let got = segment(&record, Dir::BOTH[me], &t, &headers[me]);
        assert_eq!(got, want, "{me} {t:?} on {before:?}");
        assert_eq!(
            State::of(&record),
            Some(m.state),
            "{me} {t:?} on {before:?}"
        );
        if want == Verdict::Reopen {
            // The connection's end is its client's again.
            let again = open(&record, &t, Some(syn_options(&headers[0])), pickup);
            let model = Model::open(&t, scales[0], pickup);
            assert_eq!(
                again,
                model.as_ref().map(|n| n.state).map_err(|r: &Reason| *r)
            );
            match model {
                Ok(new) => m = new,
                Err(_) => break,
            }
        }
    }
    Ok(())
}

fn offset(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match u.int_in_range(0..=7u8)? {
        0..=3 => 0,
        4 => u.int_in_range(-2..=2i32)? as u32,
        5 => u.int_in_range(-140_000..=140_000i32)? as u32,
        6 => u.int_in_range(65_530..=66_010u32)?,
        _ => u.arbitrary()?,
    })
}

fn next(u: &mut Unstructured<'_>, m: &Model, me: usize, isn: [u32; 2]) -> Result<Tcp> {
    let flags = match u.int_in_range(0..=15u8)? {
        0..=2 => SYN,
        3 | 4 => SYN | ACK,
        5..=8 => ACK,
        9 => ACK | PSH,
        10..=12 => FIN | ACK,
        13 => RST,
        14 => RST | ACK,
        _ => u.arbitrary()?,
    };
    let (own, other) = (&m.sides[me], &m.sides[1 - me]);
    let end = own.as_ref().map_or(isn[me], |s| s.end);
    let seq = match u.int_in_range(0..=3u8)? {
        0 => own.as_ref().map_or(isn[me], |s| s.syn.wrapping_sub(1)),
        1 => other.as_ref().and_then(|o| o.ack).unwrap_or(end),
        _ => end,
    };
    let ack = match u.arbitrary()? {
        true => other.as_ref().map_or(isn[1 - me], |o| o.syn),
        false => other.as_ref().map_or(isn[1 - me], |o| o.end),
    };
    let payload = match u.int_in_range(0..=3u8)? {
        0 | 1 => 0,
        2 => u.int_in_range(1..=1_460)?,
        _ => u.int_in_range(1_461..=65_535)?,
    };
    Ok(Tcp {
        seq: seq.wrapping_add(offset(u)?),
        ack: ack.wrapping_add(offset(u)?),
        window: *u.choose(&[64_240, 0, 1, 65_535, 512])?,
        flags,
        header_len: 20,
        payload,
    })
}
