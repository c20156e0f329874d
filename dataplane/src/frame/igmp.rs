//! IGMP messages (RFC 1112 appendix I, RFC 2236, RFC 3376), as far as a snooping bridge reads
//! them: who joins and leaves which group, and who asks.

use super::parse::{Parsed, bits};
use super::{L3, checksum};
use crate::base::bytes::get16;
use crate::base::{Proto, Reason};
use std::net::Ipv4Addr;

const QUERY: u8 = 0x11;
const REPORT_V1: u8 = 0x12;
const REPORT_V2: u8 = 0x16;
const LEAVE: u8 = 0x17;
const REPORT_V3: u8 = 0x22;

/// What a message means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Igmp {
    /// Somebody asks who is a member.
    Query,
    /// The sender's memberships change, or are as they were.
    Report(Vec<(Ipv4Addr, Change)>),
    /// A type that is not known here (RFC 4541 section 2.1.1 rule 3: flooded).
    Other,
}

/// What a report says about a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The sender wants it, from some source at least.
    Join,
    /// The same by a host that will not say when it leaves (IGMPv1).
    JoinV1,
    /// The sender doesn't want it any more.
    Leave,
}

/// Whether a bridged frame carries IGMP.
pub fn is_igmp(p: &Parsed) -> bool {
    p.l3 == L3::Ipv4 && p.tuple.proto == Proto::IGMP
}

/// Reads the IGMP message in a frame that was parsed.
///
/// # Errors
/// [`Reason::IgmpMalformed`] when it is truncated, a fragment, of a wrong checksum, or reports a
/// group that is none.
pub fn decode(bytes: &[u8], p: &Parsed) -> Result<Igmp, Reason> {
    let end = usize::from(p.l3_off) + p.l3_len as usize;
    let whole = !p.has(bits::FRAGMENT);
    let m = bytes.get(usize::from(p.l4_off)..end).filter(|_| whole);
    m.and_then(message).ok_or(Reason::IgmpMalformed)
}

fn message(m: &[u8]) -> Option<Igmp> {
    if m.len() < 8 || checksum::finish(checksum::sum(m, 0)) != 0 {
        return None;
    }
    let one = |change| Some(Igmp::Report(vec![(group(m, 4)?, change)]));
    match m.first().copied()? {
        QUERY => Some(Igmp::Query),
        REPORT_V1 => one(Change::JoinV1),
        REPORT_V2 => one(Change::Join),
        LEAVE => one(Change::Leave),
        REPORT_V3 => records(m).map(Igmp::Report),
        _ => Some(Igmp::Other),
    }
}

fn group(m: &[u8], at: usize) -> Option<Ipv4Addr> {
    let b = m.get(at..)?.first_chunk::<4>()?;
    Some(Ipv4Addr::from(*b)).filter(Ipv4Addr::is_multicast)
}

/// The group records of RFC 3376 section 4.2. Sources are not told apart: who wants a group from
/// one source gets it from all.
fn records(m: &[u8]) -> Option<Vec<(Ipv4Addr, Change)>> {
    let mut out = Vec::new();
    let mut at = 8;
    for _ in 0..get16(m, 6)? {
        let sources = get16(m, at + 2)?;
        let group = group(m, at + 4)?;
        let &[kind, aux] = m.get(at..)?.first_chunk::<2>()?;
        match (kind, sources) {
            // IS_EXCLUDE, TO_EXCLUDE; IS_INCLUDE, TO_INCLUDE, ALLOW of some.
            (2 | 4, _) | (1 | 3 | 5, 1..) => out.push((group, Change::Join)),
            // IS_INCLUDE and TO_INCLUDE of none.
            (1 | 3, 0) => out.push((group, Change::Leave)),
            // BLOCK: other sources may be wanted still. What is not known is skipped.
            _ => {}
        }
        at += 8 + 4 * usize::from(sources) + 4 * usize::from(aux);
        if at > m.len() {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(mut m: Vec<u8>) -> Vec<u8> {
        let sum = checksum::finish(checksum::sum(&m, 0));
        m[2..4].copy_from_slice(&sum.to_be_bytes());
        m
    }

    fn v3(records: &[(u8, u8, u16, [u8; 4])]) -> Vec<u8> {
        let mut m = vec![REPORT_V3, 0, 0, 0, 0, 0, 0, records.len() as u8];
        for (kind, aux, sources, group) in records {
            m.extend([*kind, *aux, 0, *sources as u8]);
            m.extend(group);
            m.extend(vec![9; 4 * usize::from(*sources) + 4 * usize::from(*aux)]);
        }
        sealed(m)
    }

    const G: [u8; 4] = [239, 1, 2, 3];
    const H: [u8; 4] = [239, 9, 9, 9];

    #[test]
    fn reports_of_every_version() {
        let short = |kind| message(&sealed(vec![kind, 0, 0, 0, 239, 1, 2, 3]));
        let report = |c| Some(Igmp::Report(vec![(G.into(), c)]));
        assert_eq!(short(REPORT_V1), report(Change::JoinV1));
        assert_eq!(short(REPORT_V2), report(Change::Join));
        assert_eq!(short(LEAVE), report(Change::Leave));
        assert_eq!(short(QUERY), Some(Igmp::Query));
        assert_eq!(short(0x13), Some(Igmp::Other));
        for (kind, sources, change) in [
            (1, 0, Some(Change::Leave)),
            (1, 2, Some(Change::Join)),
            (2, 0, Some(Change::Join)),
            (2, 1, Some(Change::Join)),
            (3, 0, Some(Change::Leave)),
            (3, 1, Some(Change::Join)),
            (4, 0, Some(Change::Join)),
            (5, 1, Some(Change::Join)),
            (6, 1, None),
            (7, 0, None),
        ] {
            // The second record is found behind the sources and the auxiliary data.
            let got = message(&v3(&[(kind, 1, sources, G), (4, 0, 0, H)]));
            let mut expected: Vec<_> = change.map(|c| (G.into(), c)).into_iter().collect();
            expected.push((H.into(), Change::Join));
            assert_eq!(got, Some(Igmp::Report(expected)), "{kind} {sources}");
        }
    }

    #[test]
    fn malformed_ones_mean_nothing() {
        let good = v3(&[(4, 0, 2, G)]);
        for cut in 0..good.len() {
            assert_eq!(message(&sealed_or_short(&good[..cut])), None, "{cut}");
        }
        let mut bad = good.clone();
        bad[9] ^= 1;
        assert_eq!(message(&bad), None, "checksum");
        let no_group = sealed(vec![REPORT_V2, 0, 0, 0, 10, 0, 0, 1]);
        assert_eq!(message(&no_group), None);
    }

    fn sealed_or_short(m: &[u8]) -> Vec<u8> {
        let mut m = m.to_vec();
        if m.len() >= 4 {
            m[2..4].copy_from_slice(&[0, 0]);
            return sealed(m);
        }
        m
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(m in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = message(&sealed_or_short(&m));
        }
    }
}
