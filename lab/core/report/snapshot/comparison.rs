//! What two behaviours compare: all that both of them tell. What one does not compare, the other is not held against.
//!
//! A line `label: not compared: why` leaves out the line and all below it, an item `NAME not compared: why` that item of
//! the line.

use std::collections::BTreeSet;

use crate::report::behaviour::{Behaviour, Item, Label, Line};

/// The line of those that tell of links, LACP, features, captures and the kernel's log. What was accepted earlier does not have it.
pub(crate) const FORM: &str = "2";

/// Whether trials were recorded before these lines existed.
pub fn is_older(behaviour: &Behaviour) -> bool {
    let has_form = behaviour.value(&Label::Form).is_some_and(|form| form == FORM);
    !has_form && behaviour.lines.iter().any(|line| matches!(line.label, Label::Trial(_)))
}

/// Whether two say the same, as far as both say it.
pub fn same(one: &Behaviour, other: &Behaviour) -> bool {
    let [one, other] = comparable(one, other);
    one == other
}

/// Two without what only one of them compares.
pub fn comparable(one: &Behaviour, other: &Behaviour) -> [Behaviour; 2] {
    let mut left_out = LeftOut::default();
    [one, other].into_iter().for_each(|behaviour| left_out.read(&behaviour.lines, &[]));
    left_out.later = is_older(one) || is_older(other);
    [one, other].map(|behaviour| left_out.taken_off(behaviour))
}

/// What is said of frames and counters, as an older one would.
pub fn of_frames(behaviour: &Behaviour) -> Behaviour {
    LeftOut { later: true, ..LeftOut::default() }.taken_off(behaviour)
}

/// How much is not compared.
pub fn count(behaviour: &Behaviour) -> usize {
    let items = behaviour.all().flat_map(|line| &line.items);
    items.filter(|item| matches!(item, Item::NotCompared { .. })).count()
}

/// What is not compared, by the labels that lead to it.
#[derive(Default)]
struct LeftOut {
    lines: BTreeSet<Vec<Label>>,
    items: BTreeSet<(Vec<Label>, String)>,
    /// All lines that older texts lack.
    later: bool,
}

impl LeftOut {
    fn read(&mut self, lines: &[Line], above: &[Label]) {
        for line in lines {
            let path = [above, std::slice::from_ref(&line.label)].concat();
            for item in &line.items {
                match item {
                    Item::NotCompared { name, .. } if name.is_empty() => {
                        self.lines.insert(path.clone());
                    }
                    Item::NotCompared { name, .. } => {
                        self.items.insert((path.clone(), name.clone()));
                    }
                    _ => {}
                }
            }
            self.read(&line.below, &path);
        }
    }

    fn taken_off(&self, behaviour: &Behaviour) -> Behaviour {
        if self.lines.is_empty() && self.items.is_empty() && !self.later {
            return behaviour.clone();
        }
        Behaviour { lines: self.rest(&behaviour.lines, &[]) }
    }

    /// What is left of lines.
    fn rest(&self, lines: &[Line], above: &[Label]) -> Vec<Line> {
        let line = |line: &Line| {
            let path = [above, std::slice::from_ref(&line.label)].concat();
            if self.lines.contains(&path) || (self.later && is_later(&path)) {
                return None;
            }
            let is_left = |item: &&Item| {
                !name(item).is_some_and(|name| self.items.contains(&(path.clone(), name.to_owned())))
            };
            let items: Vec<Item> = line.items.iter().filter(is_left).cloned().collect();
            let is_empty = items.is_empty() && !line.items.is_empty();
            let below = self.rest(&line.below, &path);
            (!is_empty).then(|| Line { label: line.label.clone(), items, below })
        };
        lines.iter().filter_map(line).collect()
    }
}

/// Whether a line is one that older texts do not have.
fn is_later(path: &[Label]) -> bool {
    match path {
        [Label::Form | Label::KernelLog | Label::Features, ..] => true,
        [_, label, ..] => {
            matches!(label, Label::Link(_) | Label::Lacp(_) | Label::Capture(_) | Label::Acknowledged(_))
        }
        _ => false,
    }
}

/// The name of a counter, or of what a word says.
fn name(item: &Item) -> Option<&str> {
    match item {
        Item::Counter(name, _) | Item::NotCompared { name, .. } | Item::Words(name) => Some(name),
        Item::Count(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD_AND_NEW: [&str; 2] = [
        "outcome: pass\n\ntrial main\n  flow f: 9 sent\n\nhypotheses\n  h: fits\n",
        "outcome: pass\nform: 2\n\ntrial main\n  flow f: 9 sent\n  capture c: 3\n  link a:v: operstate UP\n  lacp \
                   a:v: actor none\n  acknowledged with x: 1 requests\n\nhypotheses\n  h: fits\n\nkernel \
                   log\n  warning x: printed\n\nfeatures\n  veth: tso\n",
    ];

    #[test]
    fn what_an_older_text_does_not_tell_is_not_compared() {
        let [old, new] = OLD_AND_NEW.map(Behaviour::parse);
        assert!(is_older(&old) && !is_older(&new));
        assert!(!is_older(&Behaviour::parse("outcome: panic\nreason: x\n")));
        assert!(same(&old, &new) && same(&new, &old));
        assert_eq!(of_frames(&new), old);
        let other = |from: &str, to: &str| Behaviour::parse(&new.to_string().replace(from, to));
        assert!(!same(&old, &other("9 sent", "8 sent")));
        assert!(!same(&new, &other("operstate UP", "operstate DOWN")));
    }

    #[rstest::rstest]
    #[case("a: x 1\n", "a: x 1", true)]
    #[case("a: x 1\n", "a: x 2", false)]
    // The counter that one of them leaves out, and only that of that line.
    #[case("t\n  a: x 1\n  b: x 1\n", "t\n  a: x not compared: why\n  b: x 1\n", true)]
    #[case("t\n  a: x 1\n  b: x 1\n", "t\n  a: x not compared: why\n  b: x 2\n", false)]
    #[case("t\n  b: x 1\n", "t\n  a: x not compared: why\n  b: x 1\n", true)]
    #[case("t\n  a: x 1, y 2\n", "t\n  a: x not compared: why, y 2\n", true)]
    #[case("t\n  a: x 1, y 2\n", "t\n  a: x not compared: why, y 3\n", false)]
    #[case("t\n  a: x 1\nu\n  a: x 1\n", "t\n  a: x not compared: why\nu\n  a: x 2\n", false)]
    // A whole section.
    #[case("log\n  a: 1\n  b: 2\nc: 3\n", "log: not compared: why\nc: 3\n", true)]
    #[case("log\n  a: 1\n  b: 2\nc: 3\n", "log: not compared: why\nc: 4\n", false)]
    fn what_both_tell_is_compared(#[case] one: &str, #[case] other: &str, #[case] expected: bool) {
        let [one, other] = [one, other].map(Behaviour::parse);
        assert_eq!((same(&one, &other), same(&other, &one)), (expected, expected));
    }
}
