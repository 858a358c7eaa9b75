//! Kernels that behave alike, and the lines in which those that do not differ.
//!
//! Works on canonical texts alone: their lines are `label: value` or headings (see `snapshot`), so the lines of two
//! kernels pair by label, and what a counter's line would say that is not there is zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Kernels with one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// In the order given.
    pub kernels: Vec<String>,
    /// What all of them did.
    pub text: String,
}

/// One line in which groups differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which line.
    pub item: String,
    /// What it says in each group, in the groups' order; `-` where nothing can be said.
    pub values: Vec<String>,
}

/// What is shown for a line that a group does not have, and whose value is not known.
const NOTHING: &str = "-";
/// How lines about a check begin; they are left out where it holds.
pub const CHECK: &str = "check ";
/// What is said of a check where it holds.
pub const HOLDS: &str = "holds";
/// What is said of a check that the run did not come to.
pub const NOT_REACHED: &str = "not reached";
/// How lines about lost frames begin.
const LOST: &str = "lost at ";

/// Groups kernels that behave alike. A group stands where its first kernel stands; where only some of its kernels have
/// drop reasons, its text is that of one that has.
pub fn group<'a>(cells: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Group> {
    let cells: Vec<(&str, &str)> = cells.into_iter().collect();
    let mut texts: Vec<&str> = Vec::new();
    // What compares more tells others apart that are both like one which compares less.
    let mut in_order: Vec<&str> = cells.iter().map(|(_, text)| *text).collect();
    in_order.sort_by_key(|text| crate::report::snapshot::not_compared(text));
    for text in &in_order {
        if !texts.iter().any(|known| crate::report::snapshot::same(known, text)) {
            texts.push(text);
        }
    }
    // Those that name reasons tell each other apart; the others can only be like one of them, or like none.
    let (mut told, untold): (Vec<&str>, Vec<&str>) = texts.iter().partition(|text| names_reasons(text));
    for text in untold {
        if !told.iter().any(|known| alike(known, text)) {
            told.push(text);
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (kernel, text) in cells {
        let exact = told.iter().find(|known| crate::report::snapshot::same(known, text));
        let text = exact.or_else(|| told.iter().find(|known| alike(known, text))).unwrap_or(&text);
        match groups.iter_mut().find(|group| group.text == *text) {
            Some(group) => group.kernels.push(kernel.to_owned()),
            None => groups.push(Group { kernels: vec![kernel.to_owned()], text: (*text).to_owned() }),
        }
    }
    groups
}

/// Whether two texts tell of the same behaviour.
///
/// Kernels before 5.17 have no drop reasons (c504e5c2f964, "net: skb: introduce kfree_skb_reason()"): the function that
/// dropped a frame stands for it. That is no other behaviour, where the same frames are lost in the same place.
pub fn alike(one: &str, other: &str) -> bool {
    let [one, other] = &crate::report::snapshot::comparable(one, other);
    crate::report::snapshot::identical(one, other)
        || (names_reasons(one) != names_reasons(other) && without_reasons(one) == without_reasons(other))
}

/// `989 QDISC_DROP, 11 BACKLOG`, where `line` is about lost frames.
fn losses(line: &str) -> Option<(&str, impl Iterator<Item = (u64, &str)>)> {
    let (place, lost) = line.split_once(": ").filter(|(place, _)| place.trim_start().starts_with(LOST))?;
    let items = lost.split(", ").filter_map(|item| {
        let (frames, reason) = item.split_once(' ')?;
        Some((frames.parse::<u64>().ok()?, reason))
    });
    Some((place, items))
}

/// Functions are in lower case, reasons are not.
fn names_reasons(text: &str) -> bool {
    let mut reasons = text.lines().filter_map(losses).flat_map(|(_, items)| items);
    !reasons.any(|(_, reason)| reason.chars().any(char::is_lowercase))
}

fn without_reasons(text: &str) -> Vec<String> {
    let line = |line: &str| match losses(line) {
        Some((place, items)) => format!("{place}: {}", items.map(|(frames, _)| frames).sum::<u64>()),
        None => line.to_owned(),
    };
    text.trim_end().lines().map(line).collect()
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

/// The lines in which texts differ, each with what it says in every one of them.
pub fn differences(texts: &[&str]) -> Vec<Difference> {
    if let [one, other] = texts {
        // What one of the two does not compare is no difference.
        let [one, other] = &crate::report::snapshot::comparable(one, other);
        return differing_lines(&[one, other]);
    }
    differing_lines(texts)
}

fn differing_lines(texts: &[&str]) -> Vec<Difference> {
    let parsed: Vec<Lines> = texts.iter().map(|text| Lines::parse(text)).collect();
    let mut order: Vec<&Key> = Vec::new();
    for lines in &parsed {
        let mut at = 0;
        for (key, _) in &lines.in_order {
            match order.iter().position(|known| *known == key) {
                Some(known) => at = known + 1,
                None => {
                    order.insert(at, key);
                    at += 1;
                }
            }
        }
    }
    order.into_iter().filter_map(|key| difference(key, &parsed)).collect()
}

/// Labels from the outermost heading inwards; the number tells apart lines of the same label.
type Key = (Vec<String>, usize);

/// A text's lines by their labels.
struct Lines {
    in_order: Vec<(Key, String)>,
    by_key: BTreeMap<Key, String>,
}

impl Lines {
    fn parse(text: &str) -> Self {
        let mut in_order: Vec<(Key, String)> = Vec::new();
        let mut by_key = BTreeMap::new();
        let mut path: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let content = line.trim_start();
            let depth = (line.len() - content.len()) / 2;
            let (label, value) = content.split_once(": ").unwrap_or((content, ""));
            path.truncate(depth);
            path.push(label.to_owned());
            let mut key: Key = (path.clone(), 0);
            while by_key.contains_key(&key) {
                key.1 += 1;
            }
            by_key.insert(key.clone(), value.to_owned());
            in_order.push((key, value.to_owned()));
        }
        Self { in_order, by_key }
    }

    fn has(&self, path: &[&str]) -> bool {
        let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        self.by_key.contains_key(&(path, 0))
    }

    /// Whether a counter without a line is zero here: what the line is about was there, and was not refused.
    fn absent_is_zero(&self, key: &Key) -> bool {
        let above: Vec<&str> = key.0.iter().map(String::as_str).collect();
        let Some((_, parents @ [trial, ..])) = above.split_last() else { return false };
        self.has(parents) && !self.has(&[trial, "refused"])
    }

    /// What the absence of a line says. A run that ended early has no checks; one in which an operation was refused
    /// has some, and which they are the text does not tell.
    fn absent(&self, key: &Key) -> Option<&'static str> {
        let is_check = key.0.len() == 1 && key.0[0].starts_with(CHECK);
        let is_refused =
            || self.by_key.keys().any(|(path, _)| matches!(&path[..], [_, it] if it == "refused"));
        match is_check {
            false => None,
            true if self.has(&["reason"]) => Some(NOT_REACHED),
            true if is_refused() => None,
            true => Some(HOLDS),
        }
    }
}

/// An item without its numbers, and which of those that are alike it is: two losses may have one reason.
type Shape = (String, usize);

fn items(line: &str) -> Vec<(Shape, &str)> {
    let mut items: Vec<(Shape, &str)> = Vec::new();
    for item in line.split(", ") {
        let shape = without_numbers(item);
        let alike = items.iter().filter(|((known, _), _)| *known == shape).count();
        items.push(((shape, alike), item));
    }
    items
}

fn difference(key: &Key, parsed: &[Lines]) -> Option<Difference> {
    let lines: Vec<Option<&str>> =
        parsed.iter().map(|lines| lines.by_key.get(key).map(String::as_str)).collect();
    let lines_items: Vec<Vec<(Shape, &str)>> =
        lines.iter().map(|line| line.map_or(Vec::new(), items)).collect();
    let mut shapes: Vec<&Shape> = Vec::new();
    for (shape, _) in lines_items.iter().flatten() {
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    // What each says, and what it would say of the counters that it has no word for.
    let mut said: Vec<(Vec<String>, Vec<String>)> = vec![Default::default(); parsed.len()];
    for shape in shapes {
        let cell = |items: &Vec<(Shape, &'_ str)>| items.iter().position(|(known, _)| known == shape);
        let cells: Vec<Option<&str>> =
            lines_items.iter().map(|items| cell(items).map(|place| items[place].1)).collect();
        if cells.iter().any(|cell| *cell != cells[0]) {
            for (cell, (items, zeros)) in cells.iter().zip(&mut said) {
                match cell {
                    Some(item) => items.push((*item).to_owned()),
                    None if shape.0.contains('#') => zeros.push(shape.0.replace('#', "0")),
                    None => {}
                }
            }
        }
    }
    let values: Vec<String> = said
        .into_iter()
        .zip(lines.iter().zip(parsed))
        .map(|((items, zeros), (line, lines))| match line {
            _ if !items.is_empty() => items.join(", "),
            _ if !zeros.is_empty() && (line.is_some() || lines.absent_is_zero(key)) => zeros.join(", "),
            None => lines.absent(key).unwrap_or(NOTHING).to_owned(),
            Some(_) => NOTHING.to_owned(),
        })
        .collect();
    let differ = values.iter().any(|value| *value != values[0]);
    differ.then(|| Difference { item: title(&key.0), values })
}

/// A text with `#` for every word that is a number.
pub fn without_numbers(text: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let words = text.split(' ').map(|word| if is_number(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn title(path: &[String]) -> String {
    let parts = path.iter().map(|part| part.strip_prefix("trial ").unwrap_or(part));
    parts.collect::<Vec<_>>().join(", ")
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

    fn lines(texts: &[&str]) -> Vec<String> {
        let found = differences(texts);
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
        let lost = |lost: &str| format!("trial t\n  flow f: 9 sent\n    lost at qdisc of a:v: {lost}\n");
        let (one, other) = (lost("9 QDISC_DROP, 3 QDISC_DROP"), lost("9 QDISC_DROP, 4 QDISC_DROP"));
        assert_eq!(lines(&[&one, &other]), ["t, flow f, lost at qdisc of a:v: 3 QDISC_DROP | 4 QDISC_DROP"]);
        assert_eq!(
            lines(&[&one, &lost("9 QDISC_DROP")]),
            ["t, flow f, lost at qdisc of a:v: 3 QDISC_DROP | 0 QDISC_DROP"]
        );
    }

    #[test]
    fn another_reason_is_no_zero_of_the_first() {
        let one = "trial t\n  flow f: 9 sent\n    lost at qdisc of a:v: 9 QDISC_DROP\n";
        let other = "trial t\n  flow f: 9 sent\n    lost at qdisc of a:v: 9 kfree_skb_list\n";
        assert_eq!(
            lines(&[one, other]),
            ["t, flow f, lost at qdisc of a:v: 9 QDISC_DROP | 9 kfree_skb_list"]
        );
    }

    #[test]
    fn a_kernel_without_drop_reasons_behaves_like_one_that_has_them() {
        let lost = |what: &str| {
            format!("outcome: pass\n\ntrial t\n  flow f: 9 sent\n    lost at qdisc of a:v: {what}\n")
        };
        let texts =
            ["11 BACKLOG, 9 kfree_skb_list", "11 BACKLOG, 9 QDISC_DROP", "20 TC_EGRESS", "19 kfree_skb"];
        let [old, new, other, fewer] = texts.map(lost);
        assert!(alike(&old, &new) && alike(&new, &old));
        assert!(!alike(&new, &other), "both have reasons, and they differ");
        assert!(!alike(&fewer, &new));
        let cells = [("5.10", &old), ("6.1", &new), ("6.12", &other), ("5.11", &fewer), ("5.15", &old)];
        let groups = group(cells.map(|(kernel, text)| (kernel, text.as_str())));
        let found: Vec<(String, &str)> =
            groups.iter().map(|group| (group.kernels.join(" "), group.text.as_str())).collect();
        let expected = [("5.10 6.1 5.15", &new), ("6.12", &other), ("5.11", &fewer)];
        assert_eq!(found, expected.map(|(kernels, text)| (kernels.to_owned(), text.as_str())));
    }

    #[test]
    fn what_a_kernel_does_not_compare_makes_no_group() {
        let text = |dropped: &str| format!("trial t\n  flow f: 9 sent\n  a:v: {dropped}, rx_dropped 1\n");
        let [three, four, unknown] =
            ["tx_dropped 3", "tx_dropped 4", "tx_dropped not compared: why"].map(text);
        assert!(differences(&[&three, &unknown]).is_empty() && alike(&unknown, &four));
        let cells = [("5.10", &unknown), ("6.1", &three), ("6.12", &four), ("6.18", &three)];
        let groups = group(cells.map(|(kernel, text)| (kernel, text.as_str())));
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
        let cells = [("5.10", "x\n"), ("6.1", "y"), ("6.12", "x"), ("6.18", "z")];
        let groups = group(cells);
        let kernels: Vec<String> = groups.iter().map(|group| group.kernels.join(" ")).collect();
        assert_eq!(kernels, ["5.10 6.12", "6.1", "6.18"]);
    }
}
