//! Shares in a node's log at level `debug`, with times; all nodes of a machine have the same clock.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One line about a share, or about the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This share, found by a miner of this node, is in the sharechain.
    AcceptedLocal(String),
    /// This share, relayed by a peer, is in the sharechain.
    AcceptedByGossip(String),
    /// This share, requested from a peer, is in the sharechain.
    AcceptedByRequest(String),
    /// This share is the tip.
    Tip(String),
    /// The node has what its peers have.
    Synced,
    /// The node is connected to its first peer.
    Connected,
}

/// An event with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Microseconds since 1970.
    pub at_us: i64,
    pub event: Event,
}

/// Returns the events of a log, in order; other lines are skipped.
pub fn entries(log: &str) -> Vec<Entry> {
    log.lines().filter_map(entry).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let (time, rest) = line.split_once(' ')?;
    let mut words = rest.splitn(2, ' ');
    let (_level, rest) = (words.next()?, words.next()?.trim_start());
    let (thread, text) = rest.split_once(' ')?;
    let event = match thread {
        "chain" => of_chain(text)?,
        "p2p" => of_p2p(text)?,
        _ => return None,
    };
    let time: Timestamp = time.parse().ok()?;
    Some(Entry { at_us: time.as_microsecond(), event })
}

fn of_chain(text: &str) -> Option<Event> {
    if text.starts_with("synced with ") {
        return Some(Event::Synced);
    }
    if let Some(id) = text.strip_prefix("new tip: share ") {
        return Some(Event::Tip(id.to_owned()));
    }
    let (id, source) = text.strip_prefix("share ")?.strip_suffix(": Accepted")?.split_once(" from ")?;
    let id = id.to_owned();
    Some(match source {
        "own miner" => Event::AcceptedLocal(id),
        source if source.ends_with(" by gossip") => Event::AcceptedByGossip(id),
        _ => Event::AcceptedByRequest(id),
    })
}

fn of_p2p(text: &str) -> Option<Event> {
    text.starts_with("connected to the network:").then_some(Event::Connected)
}

/// A share at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// When the node accepted it into its sharechain; `None`: never.
    pub accepted_us: Option<i64>,
    /// Whether it came by gossip; otherwise it was requested.
    pub by_gossip: bool,
    /// Whether it was the node's tip at any time.
    pub was_tip: bool,
}

/// A share at all nodes.
#[derive(Clone, Debug)]
pub struct Journey {
    /// Id of the share.
    pub id: String,
    /// Index of the node whose miner found it.
    pub finder: usize,
    /// When that node accepted it.
    pub found_us: i64,
    /// The share at each node, including the finder.
    pub arrivals: Vec<Arrival>,
}

/// Returns the journeys of all shares that miners of these nodes found, in the order in which they were found.
pub fn journeys(logs: &[String]) -> Vec<Journey> {
    let mut found: BTreeMap<String, (usize, i64)> = BTreeMap::new();
    let mut arrivals: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
    for (node, log) in logs.iter().enumerate() {
        for Entry { at_us, event } in entries(log) {
            let (Event::AcceptedLocal(id)
            | Event::AcceptedByGossip(id)
            | Event::AcceptedByRequest(id)
            | Event::Tip(id)) = &event
            else {
                continue;
            };
            let of_share = arrivals.entry(id.clone()).or_insert_with(|| vec![Arrival::default(); logs.len()]);
            let arrival = &mut of_share[node];
            match event {
                Event::Tip(_) => arrival.was_tip = true,
                Event::AcceptedLocal(id) => {
                    found.insert(id, (node, at_us));
                    arrival.accepted_us.get_or_insert(at_us);
                }
                Event::AcceptedByGossip(_) => {
                    arrival.by_gossip = true;
                    arrival.accepted_us.get_or_insert(at_us);
                }
                _ => {
                    arrival.accepted_us.get_or_insert(at_us);
                }
            }
        }
    }
    let mut journeys: Vec<Journey> = found
        .into_iter()
        .map(|(id, (finder, found_us))| {
            let arrivals = arrivals.remove(&id).unwrap_or_default();
            Journey { id, finder, found_us, arrivals }
        })
        .collect();
    journeys.sort_by_key(|journey| journey.found_us);
    journeys
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINDER: &str = "\
2026-01-02T03:04:05.000100Z INFO  p2p connected to the network: 12D3 at /ip4/127.0.0.1/tcp/1
2026-01-02T03:04:05.000200Z DEBUG chain share aa from own miner: Accepted
2026-01-02T03:04:05.000201Z DEBUG chain new tip: share aa
2026-01-02T03:04:06.000000Z DEBUG chain share bb from own miner: Accepted
2026-01-02T03:04:07.000000Z DEBUG stratum new tip: share cc
";
    const OTHER: &str = "\
2026-01-02T03:04:05.000400Z DEBUG chain share aa from peer 7 by gossip: Accepted
2026-01-02T03:04:05.000401Z DEBUG chain new tip: share aa
2026-01-02T03:04:05.000402Z DEBUG chain share aa from peer 8 by gossip: Known
2026-01-02T03:04:09.000001Z DEBUG chain share bb from peer 7 by request: Accepted
2026-01-02T03:04:09.000002Z DEBUG chain share bb from peer 8 by gossip: Known
2026-01-02T03:04:09.000003Z INFO  chain synced with 2 peers at share height 1
";

    #[test]
    fn a_journey_combines_all_logs() {
        let journeys = journeys(&[FINDER.to_owned(), OTHER.to_owned()]);
        assert_eq!(journeys.len(), 2, "{journeys:?}");
        let first = &journeys[0];
        assert_eq!((first.id.as_str(), first.finder), ("aa", 0));
        let latency_us = first.arrivals[1].accepted_us.map(|at_us| at_us - first.found_us);
        assert_eq!(latency_us, Some(200));
        assert!(first.arrivals[1].by_gossip && first.arrivals[1].was_tip);
        let second = &journeys[1];
        assert!(!second.arrivals[1].by_gossip, "it was requested before a peer relayed it");
        assert_eq!(second.arrivals[1].accepted_us.map(|at_us| at_us - second.found_us), Some(3_000_001));
    }

    #[test]
    fn other_lines_are_parsed_or_skipped() {
        assert!(entries(OTHER).iter().any(|entry| entry.event == Event::Synced));
        assert_eq!(entries(FINDER)[0].event, Event::Connected);
        assert_eq!(entries(FINDER).len(), 4, "lines of other threads are skipped");
        assert!(entries("nonsense\n\n2026 x y").is_empty());
    }
}
