//! Rounds of one run: whether each says what the first says, by the text that snapshots are made of.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::judge::account::Account;
use crate::judge::outcome::Outcome;
use crate::report::behaviour::Behaviour;
use crate::report::document::{CheckDocument, Document};
use crate::report::{behaviour, snapshot};

/// How the rounds of a run compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repetitions {
    /// Rounds, the first included.
    pub rounds: u32,
    /// Rounds that say what the first says, itself included.
    pub alike: u32,
    /// Frames of all rounds and trials.
    pub frames: u64,
    /// Those of them that are not accounted for.
    pub unattributed: u64,
    /// The others.
    pub differing: Vec<Differing>,
}

/// A round that says something else than the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// From 1.
    pub round: u32,
    /// What the first says, and this one: `main, node:bond0: tx_dropped 0 | tx_dropped 1`.
    pub lines: Vec<String>,
}

/// One account for each round.
pub fn rounds(account: &Account, repetitions: NonZeroU16) -> Vec<Account> {
    let round_len = account.trials.len() / usize::from(repetitions.get());
    let round = |number: u16| {
        let before = round_len * usize::from(number);
        account.trials.iter().skip(before).take(round_len).cloned().collect()
    };
    (0..repetitions.get()).map(|number| Account { trials: round(number) }).collect()
}

/// The first round's result, with a check that all others say the same, where there are any. The worst outcome is that of
/// the run. `None` without a round.
pub fn together(documents: Vec<Document>) -> Option<Document> {
    let behaviours: Vec<Behaviour> = documents.iter().map(snapshot::of_round).collect();
    let flows = || documents.iter().flat_map(|document| &document.trials).flat_map(|trial| &trial.flows);
    let frames = flows().map(|flow| u64::from(flow.asked)).sum();
    let unattributed = flows().map(|flow| u64::from(flow.unattributed)).sum();
    let worst = documents.iter().map(|document| document.outcome).max()?;
    let mut documents = documents.into_iter();
    let mut document = documents.next()?;
    if behaviours.len() == 1 {
        return Some(document);
    }
    let first = &behaviours[0];
    let differs = |(number, other): (u32, &Behaviour)| {
        (!snapshot::same(other, first)).then(|| Differing { round: number, lines: lines(first, other) })
    };
    let differing: Vec<Differing> = (1..).zip(&behaviours).filter_map(differs).collect();
    let rounds = u32::try_from(behaviours.len()).unwrap_or(u32::MAX);
    let alike = rounds - u32::try_from(differing.len()).unwrap_or(u32::MAX);
    let check = check(rounds, &differing);
    document.outcome = worst.max(check.outcome);
    document.checks.push(check);
    document.repetitions = Some(Repetitions { rounds, alike, frames, unattributed, differing });
    Some(document)
}

fn check(rounds: u32, differing: &[Differing]) -> CheckDocument {
    let told = |one: &Differing| format!("round {}: {}", one.round, one.lines.join(", "));
    let told: Vec<String> = differing.iter().map(told).collect();
    CheckDocument {
        name: format!("all {rounds} rounds say the same"),
        outcome: if differing.is_empty() { Outcome::Pass } else { Outcome::Fail },
        expected: "no difference".into(),
        observed: if told.is_empty() { "no difference".into() } else { told.join("; ") },
    }
}

fn lines(first: &Behaviour, other: &Behaviour) -> Vec<String> {
    let differences = behaviour::differences(&[first, other]);
    differences
        .iter()
        .map(|difference| format!("{}: {}", difference.item, difference.values.join(" | ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::matrix::tests::finished;

    fn round(lost: u32, unattributed: u32) -> Document {
        let outcome = if unattributed > 0 { Outcome::Fail } else { Outcome::Pass };
        finished("t", "6.12.57", outcome, lost, unattributed)
    }

    #[test]
    fn a_single_round_is_the_result_as_it_is() {
        assert_eq!(together(vec![round(5, 0)]), Some(round(5, 0)));
    }

    #[test]
    fn rounds_that_are_alike_pass() {
        let document = together(vec![round(5, 0); 3]).expect("three rounds");
        assert_eq!(document.outcome, Outcome::Pass);
        let all = document.repetitions.expect("there are several");
        assert_eq!((all.rounds, all.alike, all.frames, all.unattributed), (3, 3, 300, 0));
        assert_eq!(document.checks.last().map(|check| check.outcome), Some(Outcome::Pass));
    }

    #[test]
    fn a_round_that_says_something_else_fails_the_run() {
        let document = together(vec![round(5, 0), round(4, 0), round(5, 0)]).expect("three rounds");
        assert_eq!(document.outcome, Outcome::Fail);
        let all = document.repetitions.expect("there are several");
        assert_eq!(all.alike, 2);
        let [one] = &all.differing[..] else { panic!("one differs") };
        assert_eq!(
            (one.round, &one.lines[..]),
            (2, &["main, flow f (packet): 95 delivered | 96 delivered".to_owned()][..])
        );
    }

    /// Whatever the others say: what is not accounted for in one round is not accounted for.
    #[test]
    fn the_worst_round_decides() {
        let document = together(vec![round(5, 0), round(5, 2)]).expect("two rounds");
        assert_eq!(document.outcome, Outcome::Fail);
        assert_eq!(crate::report::matrix::unattributed(&document), 2);
    }
}
