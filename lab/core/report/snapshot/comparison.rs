//! What two texts compare: all that both of them tell. What one does not compare, the other is not held against.
//!
//! A line `label: not compared: why` leaves out the line and all below it, an item `NAME not compared: why` that item of
//! the line.

use std::collections::BTreeSet;

/// Follows the name of what is left out.
pub const NOT_COMPARED: &str = " not compared";
/// A line of texts that tell of links, LACP, features, captures and the kernel's log. Those that were accepted earlier do
/// not have it.
pub const FORM: &str = "form: 2";
/// Labels at the top of what such a text does not tell.
const LATER: [&str; 3] = ["form", "kernel log", "features"];
/// How labels of a trial begin that it does not tell.
const LATER_OF_TRIAL: [&str; 4] = ["link ", "lacp ", "capture ", "acknowledged with "];

/// Whether a text of trials was made before these lines existed.
pub fn is_older(text: &str) -> bool {
    let mut lines = text.lines();
    !lines.clone().any(|line| line == FORM) && lines.any(|line| line.starts_with("trial "))
}

/// Whether two texts say the same, as far as both say it. The end of the last line is not part of it.
pub fn same(one: &str, other: &str) -> bool {
    let [one, other] = comparable(one, other);
    one.trim_end() == other.trim_end()
}

/// Two texts without what only one of them compares.
pub fn comparable(one: &str, other: &str) -> [String; 2] {
    let mut left_out = LeftOut::default();
    [one, other].into_iter().for_each(|text| left_out.read(text));
    left_out.later = is_older(one) || is_older(other);
    [one, other].map(|text| left_out.taken_off(text))
}

/// What a text tells of frames and counters, as an older one would.
pub fn of_frames(text: &str) -> String {
    LeftOut { later: true, ..LeftOut::default() }.taken_off(text).trim_end().to_owned()
}

/// How much a text does not compare.
pub fn count(text: &str) -> usize {
    text.matches(NOT_COMPARED).count()
}

/// What is not compared, by the labels that lead to it.
#[derive(Default)]
struct LeftOut {
    lines: BTreeSet<Vec<String>>,
    items: BTreeSet<(Vec<String>, String)>,
    /// All lines that older texts lack.
    later: bool,
}

impl LeftOut {
    fn read(&mut self, text: &str) {
        for (path, value) in lines(text) {
            if value.starts_with(NOT_COMPARED.trim_start()) {
                self.lines.insert(path);
                continue;
            }
            for item in value.split(", ") {
                if let Some((name, _)) = item.split_once(NOT_COMPARED) {
                    self.items.insert((path.clone(), name.to_owned()));
                }
            }
        }
    }

    fn taken_off(&self, text: &str) -> String {
        if self.lines.is_empty() && self.items.is_empty() && !self.later {
            return text.to_owned();
        }
        let paths = lines(text);
        let mut paths = paths.iter();
        let mut out = String::new();
        for line in text.lines() {
            let kept =
                if line.trim().is_empty() { Some(line.to_owned()) } else { self.line(line, paths.next()) };
            if let Some(line) = kept {
                out.push_str(&line);
                out.push('\n');
            }
        }
        out
    }

    /// What is left of a line.
    fn line(&self, line: &str, at: Option<&(Vec<String>, String)>) -> Option<String> {
        let Some((path, value)) = at else { return Some(line.to_owned()) };
        let is_left_out = (1..=path.len()).any(|len| self.lines.contains(&path[..len]));
        if is_left_out || (self.later && is_later(path)) {
            return None;
        }
        let is_left_out = |item: &&str| {
            let name = item.split_once(NOT_COMPARED).map_or_else(|| name(item), |(name, _)| name);
            self.items.contains(&(path.clone(), name.to_owned()))
        };
        if !value.split(", ").any(|item| is_left_out(&item)) {
            return Some(line.to_owned());
        }
        let rest: Vec<&str> = value.split(", ").filter(|item| !is_left_out(item)).collect();
        let label = line.split_once(": ").map_or(line, |(label, _)| label);
        (!rest.is_empty()).then(|| format!("{label}: {}", rest.join(", ")))
    }
}

fn is_later(path: &[String]) -> bool {
    match path {
        [top] | [top, ..] if LATER.contains(&top.as_str()) => true,
        [_, label, ..] => LATER_OF_TRIAL.iter().any(|start| label.starts_with(start)),
        _ => false,
    }
}

/// What comes before the number of `tx_dropped 3`.
fn name(item: &str) -> &str {
    match item.rsplit_once(' ') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => item,
    }
}

/// Lines that are not empty, each as the labels from the outermost heading inwards, and its value.
fn lines(text: &str) -> Vec<(Vec<String>, String)> {
    let mut path: Vec<String> = Vec::new();
    let line = |line: &str| {
        let content = line.trim_start();
        let (label, value) = content.split_once(": ").unwrap_or((content, ""));
        path.truncate((line.len() - content.len()) / 2);
        path.push(label.to_owned());
        (path.clone(), value.to_owned())
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_text_does_not_tell_is_not_compared() {
        let old = "outcome: pass\n\ntrial main\n  flow f: 9 sent\n\nhypotheses\n  h: fits\n";
        let new = "outcome: pass\nform: 2\n\ntrial main\n  flow f: 9 sent\n  capture c: 3\n  link a:v: operstate UP\n  lacp \
                   a:v: actor none\n  acknowledged with x: 1 requests\n\nhypotheses\n  h: fits\n\nkernel \
                   log\n  warning x: printed\n\nfeatures\n  veth: tso\n";
        assert!(is_older(old) && !is_older(new) && !is_older("outcome: panic\nreason: x\n"));
        assert!(same(old, new) && same(new, old));
        assert_eq!(of_frames(new), old.trim_end());
        assert!(!same(old, &new.replace("9 sent", "8 sent")));
        assert!(!same(new, &new.replace("operstate UP", "operstate DOWN")));
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
        assert_eq!((same(one, other), same(other, one)), (expected, expected));
    }
}
