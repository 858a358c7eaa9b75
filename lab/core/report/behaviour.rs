//! Kernels that behave alike, and the lines in which those that do not differ.
//!
//! Works on [`Behaviour`] values: the lines of two kernels pair by label, and what a counter's line would say that is not
//! there is zero.

pub(crate) mod parse;
pub(crate) mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::report::behaviour::value::{Behaviour, Item, Label, Line};
use crate::report::snapshot::{comparable, not_compared, same};

/// Kernels with one behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// In the order given.
    pub kernels: Vec<String>,
    /// What all of them did.
    pub behaviour: Behaviour,
}

/// One line in which groups differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which line: its label and those that it is below.
    pub item: String,
    /// The trial that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<String>,
    /// The check that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// What it says in each group, in the groups' order; `-` where nothing can be said.
    pub values: Vec<String>,
}

/// What is shown for a line that a group does not have, and whose value is not known.
const NOTHING: &str = "-";
/// How the name of a line about a check begins; they are left out where it holds.
pub const CHECK: &str = "check ";
/// What is said of a check where it holds.
pub const HOLDS: &str = "holds";
/// What is said of a check that the run did not come to.
pub const NOT_REACHED: &str = "not reached";

/// Groups kernels that behave alike. A group stands where its first kernel stands; where only some of its kernels have
/// drop reasons, its behaviour is that of one that has.
pub fn group<'a>(cells: impl IntoIterator<Item = (&'a str, &'a Behaviour)>) -> Vec<Group> {
    let cells: Vec<(&str, &Behaviour)> = cells.into_iter().collect();
    let mut known: Vec<&Behaviour> = Vec::new();
    // What compares more tells others apart that are both like one which compares less.
    let mut in_order: Vec<&Behaviour> = cells.iter().map(|(_, behaviour)| *behaviour).collect();
    in_order.sort_by_key(|behaviour| not_compared(behaviour));
    for behaviour in in_order {
        if !known.iter().any(|known| same(known, behaviour)) {
            known.push(behaviour);
        }
    }
    // Those that name reasons tell each other apart; the others can only be like one of them, or like none.
    let (mut named, unnamed): (Vec<&Behaviour>, Vec<&Behaviour>) =
        known.iter().partition(|behaviour| names_reasons(behaviour));
    for behaviour in unnamed {
        if !named.iter().any(|known| alike(known, behaviour)) {
            named.push(behaviour);
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (kernel, behaviour) in cells {
        let exact = named.iter().find(|known| same(known, behaviour));
        let behaviour =
            *exact.or_else(|| named.iter().find(|known| alike(known, behaviour))).unwrap_or(&behaviour);
        match groups.iter_mut().find(|group| group.behaviour == *behaviour) {
            Some(group) => group.kernels.push(kernel.to_owned()),
            None => groups.push(Group { kernels: vec![kernel.to_owned()], behaviour: behaviour.clone() }),
        }
    }
    groups
}

/// Kernels by a text that is said of each, such as a row of a page; a group stands where its first kernel stands.
pub fn by_text<'a>(cells: impl IntoIterator<Item = (&'a str, String)>) -> Vec<(Vec<String>, String)> {
    let mut groups: Vec<(Vec<String>, String)> = Vec::new();
    for (kernel, text) in cells {
        match groups.iter_mut().find(|(_, known)| *known == text) {
            Some((kernels, _)) => kernels.push(kernel.to_owned()),
            None => groups.push((vec![kernel.to_owned()], text)),
        }
    }
    groups
}

/// Whether two values are of the same behaviour.
///
/// Kernels before 5.17 have no drop reasons (c504e5c2f964, "net: skb: introduce kfree_skb_reason()"): the function that
/// dropped a frame stands for it. That is no other behaviour, where the same frames are lost in the same place.
pub fn alike(one: &Behaviour, other: &Behaviour) -> bool {
    let [one, other] = &comparable(one, other);
    one == other
        || (names_reasons(one) != names_reasons(other) && without_reasons(one) == without_reasons(other))
}

/// Functions are in lower case, reasons are not.
fn names_reasons(behaviour: &Behaviour) -> bool {
    let lost = behaviour.all().filter(|line| matches!(line.label, Label::LostAt { .. }));
    let mut reasons = lost.flat_map(Line::counts).map(|(_, reason)| reason);
    !reasons.any(|reason| reason.chars().any(char::is_lowercase))
}

/// With the number of lost frames at each place in the stead of their reasons.
fn without_reasons(behaviour: &Behaviour) -> Behaviour {
    fn lines(all: &[Line]) -> Vec<Line> {
        let line = |line: &Line| match line.label {
            Label::LostAt { .. } => {
                let frames = line.counts().map(|(frames, _)| frames).sum();
                Line::new(line.label.clone(), vec![Item::Count(frames, String::new())])
            }
            _ => Line { below: lines(&line.below), ..line.clone() },
        };
        all.iter().map(line).collect()
    }
    Behaviour { lines: lines(&behaviour.lines) }
}

/// Members as ranges over `order`: `5.10.262 .. 6.12.57, 6.16.3`.
pub fn ranges(order: &[String], members: &[String]) -> String {
    let mut runs: Vec<Vec<&str>> = Vec::new();
    let mut previous = None;
    for (index, kernel) in order.iter().enumerate().filter(|(_, kernel)| members.contains(kernel)) {
        match runs.last_mut() {
            Some(run) if previous == index.checked_sub(1) => run.push(kernel),
            _ => runs.push(vec![kernel]),
        }
        previous = Some(index);
    }
    let words = runs.iter().map(|run| match run[..] {
        [first, .., last] if run.len() > 2 => format!("{first} .. {last}"),
        _ => run.join(", "),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The lines in which behaviours differ, each with what it says in every one of them.
pub fn differences(all: &[&Behaviour]) -> Vec<Difference> {
    if let [one, other] = all {
        // What one of the two does not compare is no difference.
        let [one, other] = &comparable(one, other);
        return differing_lines(&[one, other]);
    }
    differing_lines(all)
}

fn differing_lines(all: &[&Behaviour]) -> Vec<Difference> {
    let all: Vec<Lines<'_>> = all.iter().map(|behaviour| Lines::of(behaviour)).collect();
    let mut order: Vec<&Key<'_>> = Vec::new();
    for lines in &all {
        let mut at = 0;
        for key in &lines.in_order {
            match order.iter().position(|known| *known == key) {
                Some(known) => at = known + 1,
                None => {
                    order.insert(at, key);
                    at += 1;
                }
            }
        }
    }
    order.into_iter().filter_map(|key| difference(key, &all)).collect()
}

/// Labels from the outermost heading inwards; the number tells apart lines of the same label.
type Key<'b> = (Vec<&'b Label>, usize);

/// A behaviour's lines by their labels.
struct Lines<'b> {
    in_order: Vec<Key<'b>>,
    by_key: BTreeMap<Key<'b>, &'b Line>,
}

impl<'b> Lines<'b> {
    fn of(behaviour: &'b Behaviour) -> Self {
        let mut lines = Self { in_order: Vec::new(), by_key: BTreeMap::new() };
        lines.add(&behaviour.lines, &[]);
        lines
    }

    fn add(&mut self, all: &'b [Line], above: &[&'b Label]) {
        for line in all {
            let path: Vec<&Label> = above.iter().copied().chain([&line.label]).collect();
            let mut key: Key<'b> = (path.clone(), 0);
            while self.by_key.contains_key(&key) {
                key.1 += 1;
            }
            self.by_key.insert(key.clone(), line);
            self.in_order.push(key);
            self.add(&line.below, &path);
        }
    }

    fn has(&self, path: &[&'b Label]) -> bool {
        self.by_key.contains_key(&(path.to_vec(), 0))
    }

    /// Whether a counter without a line is zero here: what the line is about was there, and was not refused.
    fn absent_is_zero(&self, key: &Key<'b>) -> bool {
        let Some((_, parents @ [trial, ..])) = key.0.split_last() else { return false };
        self.has(parents) && !self.has(&[trial, &Label::Refused])
    }

    /// What the absence of a line says. A run that ended early has no checks; one in which an operation was refused
    /// has some, and which they are is not known.
    fn absent(&self, key: &Key<'b>) -> Option<&'static str> {
        let is_refused = || self.by_key.keys().any(|(path, _)| matches!(path[..], [_, Label::Refused]));
        match key.0[..] {
            [Label::Check(_)] if self.has(&[&Label::Reason]) => Some(NOT_REACHED),
            [Label::Check(_)] if is_refused() => None,
            [Label::Check(_)] => Some(HOLDS),
            _ => None,
        }
    }
}

/// An item without its numbers, and which of those that are alike it is: two losses may have one reason.
type Shape = (String, usize);

fn shapes(items: &[Item]) -> Vec<(Shape, &Item)> {
    let mut found: Vec<(Shape, &Item)> = Vec::new();
    for item in items {
        let shape = without_numbers(&item.to_string());
        let alike = found.iter().filter(|((known, _), _)| *known == shape).count();
        found.push(((shape, alike), item));
    }
    found
}

fn difference(key: &Key<'_>, all: &[Lines<'_>]) -> Option<Difference> {
    let lines: Vec<Option<&Line>> = all.iter().map(|lines| lines.by_key.get(key).copied()).collect();
    let lines_items: Vec<Vec<(Shape, &Item)>> =
        lines.iter().map(|line| line.map_or(Vec::new(), |line| shapes(&line.items))).collect();
    let mut shapes: Vec<&Shape> = Vec::new();
    for (shape, _) in lines_items.iter().flatten() {
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    // What each says, and what it would say of the counters that it has no word for.
    let mut said: Vec<(Vec<String>, Vec<String>)> = vec![Default::default(); all.len()];
    for shape in shapes {
        let cell = |items: &Vec<(Shape, &Item)>| items.iter().position(|(known, _)| known == shape);
        let cells: Vec<Option<&Item>> =
            lines_items.iter().map(|items| cell(items).map(|place| items[place].1)).collect();
        if cells.iter().any(|cell| *cell != cells[0]) {
            for (cell, (items, zeros)) in cells.iter().zip(&mut said) {
                match cell {
                    Some(item) => items.push(item.to_string()),
                    None if shape.0.contains('#') => zeros.push(shape.0.replace('#', "0")),
                    None => {}
                }
            }
        }
    }
    let values: Vec<String> = said
        .into_iter()
        .zip(lines.iter().zip(all))
        .map(|((items, zeros), (line, lines))| match line {
            _ if !items.is_empty() => items.join(", "),
            _ if !zeros.is_empty() && (line.is_some() || lines.absent_is_zero(key)) => zeros.join(", "),
            None => lines.absent(key).unwrap_or(NOTHING).to_owned(),
            Some(_) => NOTHING.to_owned(),
        })
        .collect();
    let differ = values.iter().any(|value| *value != values[0]);
    let (trial, check) = match key.0[..] {
        [Label::Trial(trial), _, ..] => (Some(trial.clone()), None),
        [Label::Check(check)] => (None, Some(check.clone())),
        _ => (None, None),
    };
    differ.then(|| Difference { item: title(&key.0), trial, check, values })
}

/// A text with `#` for every word that is a number.
pub fn without_numbers(text: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let words = text.split(' ').map(|word| if is_number(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn title(path: &[&Label]) -> String {
    let part = |label: &&Label| match label {
        Label::Trial(name) => name.clone(),
        label => label.to_string(),
    };
    path.iter().map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: &str =
        "outcome: pass\n\ntrial main\n  flow f (packet): 1000 asked, 1000 sent, 1000 delivered\n";
    const BUSY: &str = "outcome: pass\n\ntrial main\n  flow f (packet): 1000 asked, 1000 sent, 972 delivered\n    \
                        lost at qdisc of a:v: 28 BACKLOG\n  a:v: tx_dropped 3\n  pfifo of a:v: drops 1, requeues 28\n";
    const REFUSED: &str = "outcome: fail\ncheck main, built: fail, expected all, observed EBUSY\n\ntrial main\n  \
                           refused: EBUSY\n";

    fn texts(groups: &[Group]) -> Vec<(String, String)> {
        groups.iter().map(|group| (group.kernels.join(" "), group.behaviour.to_string())).collect()
    }

    fn grouped(cells: &[(&str, &str)]) -> Vec<Group> {
        let cells: Vec<(&str, Behaviour)> =
            cells.iter().map(|(kernel, text)| (*kernel, Behaviour::parse(text))).collect();
        group(cells.iter().map(|(kernel, behaviour)| (*kernel, behaviour)))
    }

    fn lines(texts: &[&str]) -> Vec<String> {
        let all: Vec<Behaviour> = texts.iter().map(|text| Behaviour::parse(text)).collect();
        let found = differences(&all.iter().collect::<Vec<_>>());
        found.into_iter().map(|one| format!("{}: {}", one.item, one.values.join(" | "))).collect()
    }

    #[test]
    fn a_counter_without_a_line_is_zero() {
        let expected = [
            "main, flow f (packet): 1000 delivered | 972 delivered",
            "main, flow f (packet), lost at qdisc of a:v: 0 BACKLOG | 28 BACKLOG",
            "main, a:v: tx_dropped 0 | tx_dropped 3",
            "main, pfifo of a:v: drops 0, requeues 0 | drops 1, requeues 28",
        ];
        assert_eq!(lines(&[CALM, BUSY]), expected);
        assert!(lines(&[CALM, CALM]).is_empty());
    }

    #[test]
    fn nothing_is_made_up_for_what_did_not_run() {
        let found = lines(&[BUSY, REFUSED]);
        let expected = [
            "outcome: pass | fail",
            "check main, built: holds | fail, expected all, observed EBUSY",
            "main, refused: - | EBUSY",
            "main, flow f (packet): 1000 asked, 1000 sent, 972 delivered | -",
            "main, flow f (packet), lost at qdisc of a:v: 28 BACKLOG | -",
            "main, a:v: tx_dropped 3 | -",
            "main, pfifo of a:v: drops 1, requeues 28 | -",
        ];
        assert_eq!(found, expected);
        let panic = "outcome: panic\nreason: the kernel panicked: x\n";
        assert!(lines(&[REFUSED, panic]).iter().any(|line| line.ends_with("observed EBUSY | not reached")));
        let failed = "outcome: fail\ncheck all arrive: fail, expected 0, observed 3\n";
        assert!(lines(&[failed, REFUSED]).iter().any(|line| line.ends_with("observed 3 | -")), "not known");
    }

    #[test]
    fn two_losses_with_one_reason_on_one_device_are_both_told() {
        let lost =
            |lost: &str| format!("trial t\n  flow f (packet): 9 sent\n    lost at qdisc of a:v: {lost}\n");
        let (one, other) = (lost("9 QDISC_DROP, 3 QDISC_DROP"), lost("9 QDISC_DROP, 4 QDISC_DROP"));
        assert_eq!(
            lines(&[&one, &other]),
            ["t, flow f (packet), lost at qdisc of a:v: 3 QDISC_DROP | 4 QDISC_DROP"]
        );
        assert_eq!(
            lines(&[&one, &lost("9 QDISC_DROP")]),
            ["t, flow f (packet), lost at qdisc of a:v: 3 QDISC_DROP | 0 QDISC_DROP"]
        );
    }

    #[test]
    fn another_reason_is_no_zero_of_the_first() {
        let one = "trial t\n  flow f (packet): 9 sent\n    lost at qdisc of a:v: 9 QDISC_DROP\n";
        let other = "trial t\n  flow f (packet): 9 sent\n    lost at qdisc of a:v: 9 kfree_skb_list\n";
        assert_eq!(
            lines(&[one, other]),
            ["t, flow f (packet), lost at qdisc of a:v: 9 QDISC_DROP | 9 kfree_skb_list"]
        );
    }

    #[test]
    fn a_kernel_without_drop_reasons_behaves_like_one_that_has_them() {
        let lost = |what: &str| {
            format!("outcome: pass\n\ntrial t\n  flow f (packet): 9 sent\n    lost at qdisc of a:v: {what}\n")
        };
        let texts =
            ["11 BACKLOG, 9 kfree_skb_list", "11 BACKLOG, 9 QDISC_DROP", "20 TC_EGRESS", "19 kfree_skb"];
        let [old, new, other, fewer] = texts.map(|what| Behaviour::parse(&lost(what)));
        assert!(alike(&old, &new) && alike(&new, &old));
        assert!(!alike(&new, &other), "both have reasons, and they differ");
        assert!(!alike(&fewer, &new));
        let cells = [("5.10", &old), ("6.1", &new), ("6.12", &other), ("5.11", &fewer), ("5.15", &old)];
        let expected = [("5.10 6.1 5.15", &new), ("6.12", &other), ("5.11", &fewer)];
        let expected = expected.map(|(kernels, behaviour)| (kernels.to_owned(), behaviour.to_string()));
        assert_eq!(self::texts(&group(cells)), expected);
    }

    #[test]
    fn what_a_kernel_does_not_compare_makes_no_group() {
        let text =
            |dropped: &str| format!("trial t\n  flow f (packet): 9 sent\n  a:v: {dropped}, rx_dropped 1\n");
        let [three, four, unknown] =
            ["tx_dropped 3", "tx_dropped 4", "tx_dropped not compared: why"].map(text);
        let [three, four, unknown] = [three, four, unknown].map(|text| Behaviour::parse(&text));
        assert!(differences(&[&three, &unknown]).is_empty() && alike(&unknown, &four));
        let groups = group([("5.10", &unknown), ("6.1", &three), ("6.12", &four), ("6.18", &three)]);
        let kernels: Vec<String> = groups.iter().map(|group| group.kernels.join(" ")).collect();
        assert_eq!(kernels, ["5.10 6.1 6.18", "6.12"]);
    }

    #[test]
    fn lines_of_one_label_stay_apart() {
        assert_eq!(lines(&["a: 1\na: 2\n", "a: 1\na: 3\n"]), ["a: 2 | 3"]);
    }

    #[rstest::rstest]
    #[case("5.10 6.1 6.12", "5.10 .. 6.12")]
    #[case("5.10 6.1", "5.10, 6.1")]
    #[case("5.10", "5.10")]
    #[case("6.1 6.12 6.16 6.18", "6.1 .. 6.16, 6.18")]
    #[case("5.10 6.12 6.18", "5.10, 6.12, 6.18")]
    #[case("", "")]
    fn neighbours_are_a_range(#[case] members: &str, #[case] expected: &str) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(ranges(&words("5.10 6.1 6.12 6.16 6.17 6.18"), &words(members)), expected);
    }

    #[test]
    fn groups_by_text_where_the_first_of_them_stands() {
        let groups = grouped(&[("5.10", "x\n"), ("6.1", "y"), ("6.12", "x"), ("6.18", "z")]);
        let kernels: Vec<String> = groups.iter().map(|group| group.kernels.join(" ")).collect();
        assert_eq!(kernels, ["5.10 6.12", "6.1", "6.18"]);
    }
}
