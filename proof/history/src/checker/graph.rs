//! Who must come before whom, and whether that is a circle.

use super::breach::Because;

/// An edge: the one comes before the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub from: u32,
    pub to: u32,
    pub because: Because,
    /// [`NO_KEY`] if it is over none.
    pub key: u32,
}

pub(crate) const NO_KEY: u32 = u32::MAX;

/// Nodes from 0; those from `moments` on are moments of real time and no transactions.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub edges: Vec<Edge>,
    nodes: u32,
    moments: u32,
}

impl Graph {
    /// With room for about so many edges.
    pub fn new(nodes: u32, edges: usize) -> Self {
        Self { edges: Vec::with_capacity(edges), nodes, moments: nodes }
    }

    pub fn add(&mut self, from: u32, to: u32, because: Because, key: u32) {
        if from != to {
            self.edges.push(Edge { from, to, because, key });
        }
    }

    /// Whoever ended before another began comes before it. Not an edge for each two of them, but a chain of moments: each end
    /// leads to the next, and the last end before a beginning to who began.
    pub fn add_intervals(&mut self, intervals: &[(u32, u64, Option<u64>)], because: Because) {
        let mut ends: Vec<u64> = intervals.iter().filter_map(|(_, _, ended)| *ended).collect();
        ends.sort_unstable();
        ends.dedup();
        let first = self.nodes;
        let moment = |position: usize| first + u32::try_from(position).unwrap_or(u32::MAX);
        self.nodes = moment(ends.len());
        for position in 1..ends.len() {
            self.add(moment(position - 1), moment(position), because, NO_KEY);
        }
        for (node, began, ended) in intervals {
            if let Some(position) = ended.and_then(|ended| ends.binary_search(&ended).ok()) {
                self.add(*node, moment(position), because, NO_KEY);
            }
            if let Some(position) = ends.partition_point(|end| end < began).checked_sub(1) {
                self.add(moment(position), *node, because, NO_KEY);
            }
        }
    }

    /// The nodes that are no moments, each after all that come before it; or a circle.
    pub fn order(&self) -> Result<Vec<u32>, Vec<Edge>> {
        let outgoing = Outgoing::of(self);
        let mut waits = vec![0_u32; self.nodes as usize];
        for edge in &self.edges {
            waits[edge.to as usize] += 1;
        }
        let mut order: Vec<u32> = (0..self.nodes).filter(|node| waits[*node as usize] == 0).collect();
        let mut next = 0;
        while let Some(node) = order.get(next) {
            next += 1;
            for edge in outgoing.from(*node) {
                waits[edge.to as usize] -= 1;
                if waits[edge.to as usize] == 0 {
                    order.push(edge.to);
                }
            }
        }
        if order.len() < self.nodes as usize {
            return Err(self.without_moments(&self.circle(&outgoing, &waits)));
        }
        order.retain(|node| *node < self.moments);
        Ok(order)
    }

    /// A circle, as short as those through the nodes of the first that is found.
    fn circle(&self, outgoing: &Outgoing, waits: &[u32]) -> Vec<Edge> {
        // Backwards from any node that waits: each of them has a predecessor that waits, so this comes round.
        let mut before: Vec<Option<Edge>> = vec![None; self.nodes as usize];
        for edge in self.edges.iter().filter(|edge| waits[edge.from as usize] > 0) {
            before[edge.to as usize] = Some(*edge);
        }
        let mut seen = vec![false; self.nodes as usize];
        let mut node = waits.iter().position(|waits| *waits > 0).unwrap_or_default();
        while let Some(edge) = before[node].filter(|_| !seen[node]) {
            seen[node] = true;
            node = edge.from as usize;
        }
        let mut found = Vec::new();
        let start = node;
        while let Some(edge) = before[node] {
            found.push(edge);
            node = edge.from as usize;
            if node == start {
                break;
            }
        }
        found.reverse();
        /// A circle of thousands is not looked at from each of its nodes.
        const MOST_STARTS: usize = 64;
        let starts: Vec<u32> = found.iter().map(|edge| edge.from).take(MOST_STARTS).collect();
        for start in starts {
            let shorter = self.shortest(outgoing, waits, start);
            if shorter.as_ref().is_some_and(|shorter| shorter.len() < found.len()) {
                found = shorter.unwrap_or_default();
            }
        }
        found
    }

    /// The shortest way from a node back to it.
    fn shortest(&self, outgoing: &Outgoing, waits: &[u32], start: u32) -> Option<Vec<Edge>> {
        let mut into: Vec<Option<Edge>> = vec![None; self.nodes as usize];
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for edge in outgoing.from(node).filter(|edge| waits[edge.to as usize] > 0) {
                if into[edge.to as usize].is_some() {
                    continue;
                }
                into[edge.to as usize] = Some(*edge);
                if edge.to == start {
                    let mut way = vec![*edge];
                    while let Some(last) = way.last().filter(|last| last.from != start) {
                        way.push(into[last.from as usize]?);
                    }
                    way.reverse();
                    return Some(way);
                }
                queue.push_back(edge.to);
            }
        }
        None
    }

    /// The same circle, with one edge for a way through moments.
    fn without_moments(&self, circle: &[Edge]) -> Vec<Edge> {
        let Some(start) = circle.iter().position(|edge| edge.from < self.moments) else { return Vec::new() };
        let mut short: Vec<Edge> = Vec::new();
        for edge in circle.iter().cycle().skip(start).take(circle.len()) {
            match short.last_mut().filter(|last| last.to >= self.moments) {
                Some(last) => last.to = edge.to,
                None => short.push(*edge),
            }
        }
        short
    }
}

/// The edges by where they come from.
struct Outgoing<'g> {
    edges: &'g [Edge],
    sorted: Vec<u32>,
    starts: Vec<u32>,
}

impl<'g> Outgoing<'g> {
    fn of(graph: &'g Graph) -> Self {
        let mut starts = vec![0_u32; graph.nodes as usize + 2];
        for edge in &graph.edges {
            starts[edge.from as usize + 2] += 1;
        }
        for node in 2..starts.len() {
            starts[node] += starts[node - 1];
        }
        let mut sorted = vec![0_u32; graph.edges.len()];
        for (number, edge) in (0..).zip(&graph.edges) {
            let place = &mut starts[edge.from as usize + 1];
            sorted[*place as usize] = number;
            *place += 1;
        }
        Self { edges: &graph.edges, sorted, starts }
    }

    fn from(&self, node: u32) -> impl Iterator<Item = &'g Edge> {
        let [start, end] = [node, node + 1].map(|node| self.starts[node as usize] as usize);
        let edges = self.edges;
        self.sorted[start..end].iter().map(move |number| &edges[*number as usize])
    }
}
