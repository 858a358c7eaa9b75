//! A matrix split over several machines: which cells are whose, by what each cost the last time.
//!
//! All machines work the split out for themselves, from the same files and the same times, so it depends on nothing else.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::matrix::{Cell, Planned};

/// As many machines as make sense: each saves its own copies of the kernels' machines.
const SHARDS_MAX: u16 = 1000;

/// What a cell is taken to cost where no cell was measured, in ms: the median of the gallery without KVM.
const COST_UNKNOWN_MS: u64 = 1000;

/// One part of a split: the second of three is `2/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub index: u16,
    /// How many there are.
    pub of: u16,
}

/// Not `I/N` with I from 1 to N.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no shard: I/N with I from 1 to N, and N up to {SHARDS_MAX}, as 2/3")]
pub struct ShardError(String);

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers =
            text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) && of <= SHARDS_MAX => Ok(Self { index, of }),
            _ => Err(ShardError(text.to_owned())),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// What each cell cost, in ms, by topology and kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs(BTreeMap<(String, String), u64>);

impl Costs {
    /// Takes in the times of cells that ran; of one that ran twice the longer one counts.
    pub fn add(&mut self, cells: &[Cell]) {
        for cell in cells {
            let key = (cell.document.topology.clone(), cell.document.kernel.id.clone());
            let cost = self.0.entry(key).or_default();
            *cost = (*cost).max(cell.document.timing_ms.total);
        }
    }

    /// Of a cell that was not measured: the median of its topology's cells, or else of all.
    fn of(&self, topology: &str, kernel: &str) -> u64 {
        if let Some(cost) = self.0.get(&(topology.to_owned(), kernel.to_owned())) {
            return *cost;
        }
        let of_topology = self.0.iter().filter(|((name, _), _)| name == topology).map(|(_, cost)| *cost);
        median(of_topology.collect())
            .or_else(|| median(self.0.values().copied().collect()))
            .unwrap_or(COST_UNKNOWN_MS)
    }
}

fn median(mut costs: Vec<u64>) -> Option<u64> {
    costs.sort_unstable();
    costs.get(costs.len() / 2).copied()
}

/// The cells of one shard: each cell of `planned` is in one shard of a split, and in no other.
///
/// The most expensive cell goes to the shard that has least so far, then the next (longest processing time first), which is
/// at most a third above the best split (Graham 1969).
#[must_use]
pub fn cells(shard: Shard, planned: &Planned, costs: &Costs) -> BTreeSet<(String, String)> {
    let all = planned.iter().flat_map(|(topology, on)| on.iter().map(move |kernel| (topology, kernel)));
    let mut all: Vec<(Reverse<u64>, &String, &String)> =
        all.map(|(topology, kernel)| (Reverse(costs.of(topology, kernel)), topology, kernel)).collect();
    all.sort_unstable();
    let mut loads: BTreeSet<(u64, u16)> = (1..=shard.of).map(|index| (0, index)).collect();
    let mut own = BTreeSet::new();
    for (Reverse(cost), topology, kernel) in all {
        let (load, index) = loads.pop_first().expect("there is at least one shard");
        loads.insert((load + cost.max(1), index));
        if index == shard.index {
            own.insert((topology.clone(), kernel.clone()));
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(topologies: usize, kernels: usize) -> Planned {
        let on: Vec<String> = (0..kernels).map(|kernel| format!("6.{kernel}")).collect();
        (0..topologies).map(|topology| (format!("t{topology}"), on.clone())).collect()
    }

    fn costs(cells: &[(&str, &str, u64)]) -> Costs {
        let key = |(topology, kernel, ms): &(&str, &str, u64)| (((*topology).into(), (*kernel).into()), *ms);
        Costs(cells.iter().map(key).collect())
    }

    #[rstest::rstest]
    #[case("2/3", Some(Shard { index: 2, of: 3 }))]
    #[case("1/1", Some(Shard { index: 1, of: 1 }))]
    #[case("0/3", None)]
    #[case("4/3", None)]
    #[case("1/1001", None)]
    #[case("1", None)]
    #[case("-1/3", None)]
    #[case("", None)]
    fn a_shard_is_one_of_so_many(#[case] text: &str, #[case] expected: Option<Shard>) {
        assert_eq!(text.parse().ok(), expected);
    }

    #[test]
    fn each_cell_is_in_one_shard() {
        let planned = planned(7, 5);
        let costs = costs(&[("t0", "6.0", 90_000), ("t1", "6.1", 3)]);
        for of in [1, 2, 3, 40] {
            let mut seen = BTreeSet::new();
            for index in 1..=of {
                for cell in cells(Shard { index, of }, &planned, &costs) {
                    assert!(seen.insert(cell.clone()), "{cell:?} is in two shards of {of}");
                }
            }
            assert_eq!(seen.len(), 35, "of {of}");
        }
    }

    #[test]
    fn an_expensive_cell_is_alone() {
        let costs = costs(&[("t0", "6.0", 100_000), ("t0", "6.1", 10), ("t1", "6.0", 10), ("t1", "6.1", 10)]);
        let split = |index| cells(Shard { index, of: 2 }, &planned(2, 2), &costs);
        assert_eq!(split(1), BTreeSet::from([("t0".to_owned(), "6.0".to_owned())]));
        assert_eq!(split(2).len(), 3);
    }

    #[test]
    fn a_new_cell_costs_what_its_topology_costs_elsewhere() {
        let costs = costs(&[("t0", "6.0", 500), ("t1", "6.0", 10), ("t1", "6.1", 20), ("t1", "6.2", 40)]);
        assert_eq!((costs.of("t0", "6.1"), costs.of("t1", "6.9"), costs.of("t9", "6.0")), (500, 20, 40));
        assert_eq!(Costs::default().of("t0", "6.0"), COST_UNKNOWN_MS);
    }
}
