//! Which rules counted something between two looks.

use crate::api::types::{Count, Rules};

/// A rule or a policy whose counters moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its chain.
    pub chain: String,
    /// Its target.
    pub target: String,
    /// What else it says.
    pub extra: String,
    /// Before.
    pub before: Count,
    /// After.
    pub after: Count,
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rule = format!("{} {}", self.target, self.extra);
        write!(
            f,
            "{:<12} {:<44} {} -> {} packets, {} -> {} bytes",
            self.chain,
            rule.trim(),
            self.before.packets,
            self.after.packets,
            self.before.bytes,
            self.after.bytes
        )
    }
}

/// What moved, in the order of the chains. Both have the same rules.
pub fn moved(before: &Rules, after: &Rules) -> Vec<Moved> {
    let mut out = Vec::new();
    for (a, b) in before.chains.iter().zip(&after.chains) {
        let rules = a.rules.iter().zip(&b.rules);
        for (x, y) in rules.filter(|(x, y)| x.count != y.count) {
            out.push(Moved {
                chain: b.name.clone(),
                target: y.target.clone(),
                extra: y.extra.clone(),
                before: x.count,
                after: y.count,
            });
        }
        if let (Some(x), Some(y)) = (a.policy, b.policy)
            && x != y
        {
            out.push(Moved {
                chain: b.name.clone(),
                target: "(policy ACCEPT)".to_owned(),
                extra: String::new(),
                before: x,
                after: y,
            });
        }
    }
    out
}

/// By how many packets the rules with this target of this chain moved in all.
pub fn packets(moved: &[Moved], chain: &str, target: &str) -> u64 {
    let of = |m: &&Moved| m.chain == chain && m.target == target;
    let by = |m: &Moved| m.after.packets.saturating_sub(m.before.packets);
    moved.iter().filter(of).map(by).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Chain, Rule};

    fn rules(policy: u64, dnat: [u64; 2]) -> Rules {
        let count = |packets| Count {
            packets,
            bytes: packets * 60,
        };
        let rule = |n| Rule {
            publication: Some(1),
            count: count(n),
            target: "DNAT".into(),
            proto: "tcp".into(),
            input: "*".into(),
            output: "*".into(),
            source: String::new(),
            destination: String::new(),
            extra: "to:10.0.0.2:80".into(),
        };
        let chain = |name: &str, policy, rules| Chain {
            name: name.into(),
            policy,
            references: None,
            rules,
        };
        Rules {
            chains: vec![
                chain("PREROUTING", Some(count(policy)), vec![]),
                chain("DOCKER", None, dnat.map(rule).into()),
            ],
        }
    }

    #[test]
    fn only_what_moved_is_named() {
        assert_eq!(moved(&rules(1, [2, 3]), &rules(1, [2, 3])), []);
        let m = moved(&rules(1, [2, 3]), &rules(4, [2, 5]));
        assert_eq!(m.len(), 2);
        assert_eq!(packets(&m, "DOCKER", "DNAT"), 2);
        assert_eq!(packets(&m, "PREROUTING", "(policy ACCEPT)"), 3);
        assert_eq!(packets(&m, "DOCKER", "RETURN"), 0);
        let line = m[1].to_string();
        assert!(line.contains("DNAT to:10.0.0.2:80") && line.contains("3 -> 5 packets"));
    }
}
