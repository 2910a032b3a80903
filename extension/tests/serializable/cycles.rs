//! Whether committed transactions can have run one after the other: the graph of who must come before whom has no cycle
//! (Adya, *Weak Consistency*, 1999: direct serialization graph). Versions are unique and ordered, so the graph is known
//! exactly and nothing is searched for.
//!
//! * *wrote*: who wrote a version of a key comes before who wrote the next one;
//! * *read*: who wrote a version comes before who read it;
//! * *overwrote*: who read a version comes before who wrote the next one;
//! * *was answered before*, if real time counts: then the result is strict serializability.

use std::collections::BTreeMap;
use std::fmt::Write;

use aft_protocol::key::Key;
use aft_protocol::version::Version;

/// A committed transaction.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    /// Moments: which came first.
    pub began: u64,
    /// `None`: nobody was ever told.
    pub answered: Option<u64>,
    pub reads: BTreeMap<Key, Version>,
    /// Of all that it wrote.
    pub version: Option<Version>,
    pub writes: Vec<Key>,
    /// Whether it may be older than it looks: it read a single key, and is as new as that read.
    pub may_be_old: bool,
}

/// A cycle, in words; `None` if there is none.
pub fn cycle(nodes: &[Node], real_time: bool) -> Option<String> {
    let edges = edges(nodes, real_time);
    // 0: not seen; 1: on the path; 2: done, no cycle from there.
    let mut colour = vec![0_u8; nodes.len()];
    for start in 0..nodes.len() {
        let mut path: Vec<(usize, usize)> = Vec::new();
        if colour[start] == 0 {
            colour[start] = 1;
            path.push((start, 0));
        }
        while let Some((node, next)) = path.last_mut() {
            let Some((to, _)) = edges[*node].get(*next) else {
                colour[*node] = 2;
                path.pop();
                continue;
            };
            *next += 1;
            match colour[*to] {
                0 => {
                    colour[*to] = 1;
                    path.push((*to, 0));
                }
                1 => return Some(described(nodes, &edges, &path, *to)),
                _ => {}
            }
        }
    }
    None
}

type Edges = Vec<Vec<(usize, String)>>;

fn edges(nodes: &[Node], real_time: bool) -> Edges {
    let mut writers: BTreeMap<&Key, BTreeMap<Version, usize>> = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for key in &node.writes {
            writers.entry(key).or_default().insert(node.version.unwrap(), index);
        }
    }
    let mut edges = vec![Vec::new(); nodes.len()];
    let mut add = |from: usize, to: usize, why: String| {
        if from != to {
            edges[from].push((to, why));
        }
    };
    for (key, versions) in &writers {
        for (earlier, later) in versions.values().zip(versions.values().skip(1)) {
            add(*earlier, *later, format!("wrote {key:?} before"));
        }
    }
    for (index, node) in nodes.iter().enumerate() {
        for (key, version) in &node.reads {
            let Some(versions) = writers.get(key) else { continue };
            if let Some(writer) = versions.get(version) {
                add(*writer, index, format!("wrote the {key:?} that was read by"));
            }
            let after = (std::ops::Bound::Excluded(*version), std::ops::Bound::Unbounded);
            if let Some((_, next)) = versions.range(after).next() {
                add(index, *next, format!("read the {key:?} that was overwritten by"));
            }
        }
        for (later, other) in nodes.iter().enumerate() {
            let is_before = node.answered.is_some_and(|answered| answered < other.began);
            if real_time && is_before && !other.may_be_old {
                add(index, later, "was answered before the beginning of".to_owned());
            }
        }
    }
    edges
}

fn described(nodes: &[Node], edges: &Edges, path: &[(usize, usize)], to: usize) -> String {
    let from = path.iter().position(|(node, _)| *node == to).unwrap();
    let mut text = String::new();
    for (node, next) in &path[from..] {
        writeln!(text, "{} {}", nodes[*node].name, edges[*node][*next - 1].1).unwrap();
    }
    text + &nodes[to].name
}

#[cfg(test)]
mod tests {
    use aft_protocol::id::TransactionId;
    use aft_protocol::version::Timestamp;

    use super::*;

    fn version(micros: u64) -> Version {
        if micros == 0 {
            return Version::ZERO;
        }
        Version::new(Timestamp::from_micros(micros), TransactionId::from_bits(micros.into()))
    }

    /// Named by its version; 0 wrote nothing. Began and answered at those moments.
    fn node(name: u64, reads: &[(&str, u64)], writes: &[&str], began: u64, answered: u64) -> Node {
        let key = |text: &str| Key::new(text).unwrap();
        Node {
            name: format!("T{name}"),
            began,
            answered: Some(answered),
            reads: reads.iter().map(|(text, micros)| (key(text), version(*micros))).collect(),
            version: (!writes.is_empty()).then(|| version(name)),
            writes: writes.iter().map(|text| key(text)).collect(),
            may_be_old: false,
        }
    }

    #[test]
    fn every_anomaly_is_a_cycle() {
        let lost_update = [node(1, &[("a", 0)], &["a"], 0, 9), node(2, &[("a", 0)], &["a"], 0, 9)];
        let write_skew = [node(1, &[("a", 0), ("b", 0)], &["a"], 0, 9), node(2, &[("a", 0), ("b", 0)], &["b"], 0, 9)];
        let torn_audit = [node(1, &[], &["a", "b"], 0, 9), node(0, &[("a", 1), ("b", 0)], &[], 0, 9)];
        let long_fork = [
            node(1, &[], &["a"], 0, 9),
            node(2, &[], &["b"], 0, 9),
            node(0, &[("a", 1), ("b", 0)], &[], 0, 9),
            node(0, &[("a", 0), ("b", 2)], &[], 0, 9),
        ];
        let absence = [node(1, &[("a", 0)], &["b"], 0, 9), node(2, &[("b", 0)], &["a"], 0, 9)];
        for (name, nodes) in [
            ("lost update", &lost_update[..]),
            ("write skew", &write_skew),
            ("torn audit", &torn_audit),
            ("long fork", &long_fork),
            ("write skew on absence", &absence),
        ] {
            assert!(cycle(nodes, false).is_some(), "{name}");
        }
    }

    #[test]
    fn a_stale_answer_is_a_cycle_in_real_time_only() {
        let nodes = [node(1, &[], &["a"], 0, 2), node(0, &[("a", 0)], &[], 3, 4)];
        assert_eq!(cycle(&nodes, false), None);
        assert_eq!(
            cycle(&nodes, true).unwrap(),
            "T1 was answered before the beginning of\nT0 read the \"a\" that was overwritten by\nT1"
        );
        let allowed = [nodes[0].clone(), Node { may_be_old: true, ..nodes[1].clone() }];
        assert_eq!(cycle(&allowed, true), None);
    }

    #[test]
    fn one_after_the_other_is_no_cycle() {
        let nodes = [
            node(1, &[("a", 0), ("b", 0)], &["a"], 0, 2),
            node(2, &[("a", 1), ("b", 0)], &["b"], 1, 4),
            node(0, &[("a", 1), ("b", 2)], &[], 3, 6),
            node(3, &[("b", 2)], &["a", "b"], 5, 9),
        ];
        assert_eq!(cycle(&nodes, true), None);
    }
}
