//! A sequence that fails made as small as it goes: steps left out, then each made plainer.

use super::sequence::{Form, Said, Sequence, Step};

/// The smallest sequence found for which `fails` holds still. It is called a few hundred times at
/// most.
pub fn shrink(mut s: Sequence, mut fails: impl FnMut(&Sequence) -> bool) -> Sequence {
    let mut calls = 0;
    loop {
        let before = s.clone();
        for smaller in candidates(&before) {
            calls += 1;
            if calls > 2_000 {
                return s;
            }
            if smaller != s && fails(&smaller) {
                s = smaller;
                break;
            }
        }
        if s == before {
            return s;
        }
    }
}

fn candidates(s: &Sequence) -> Vec<Sequence> {
    let mut all = Vec::new();
    let n = s.steps.len();
    let mut chunk = n / 2;
    while chunk > 0 {
        for at in (0..n).step_by(chunk) {
            let mut c = s.clone();
            c.steps.drain(at..(at + chunk).min(n));
            all.push(c);
        }
        chunk /= 2;
    }
    // Flows go from the end, where nobody counts on their number.
    if s.flows.len() > 1 {
        let mut c = s.clone();
        c.flows.pop();
        all.push(c);
    }
    for at in 0..s.published.len() {
        let mut c = s.clone();
        c.published.remove(at);
        all.push(c);
    }
    for (at, step) in s.steps.iter().enumerate() {
        for plainer in plainer(step) {
            let mut c = s.clone();
            c.steps[at] = plainer;
            all.push(c);
        }
    }
    all
}

fn plainer(step: &Step) -> Vec<Step> {
    let Step::Say(n, by, said, form) = step else {
        return Vec::new();
    };
    let plain = Said::plain(said.segment, said.len);
    let saids = [
        plain,
        Said { seq: 0, ..*said },
        Said { ack: 0, ..*said },
        Said {
            window: 60_000,
            ..*said
        },
        Said { scale: 0, ..*said },
        Said { len: 0, ..*said },
        Said { len: 1, ..*said },
    ];
    let mut all: Vec<Step> = saids
        .into_iter()
        .filter(|x| x != said && (said.len != 0 || x.len == 0))
        .map(|x| Step::Say(*n, *by, x, *form))
        .collect();
    if *form != Form::PLAIN {
        all.insert(0, Step::Say(*n, *by, *said, Form::PLAIN));
    }
    all
}
