//! A matrix for people: the grid, what the kernels did differently, what is not as expected, and what it cost.

mod letters;
pub(crate) mod problems;
pub(crate) mod substitutes;

pub use problems::problem;

use std::fmt::Write;

use indexmap::IndexMap;

use crate::judge::outcome::Outcome;
use crate::report::behaviour;
use crate::report::behaviour::Difference;
use crate::report::grid::problems::problems;
use crate::report::matrix::{Behaviours, Matrix, Measures, SnapshotStatus};
use crate::report::terminal::look::{Look, WIDTH_MIN};

/// Lines of a file or a pipe are kept within this many columns.
pub const WIDTH: usize = 100;
/// A difference is shown with so many lines; `--format json` has all of them.
const DIFFERENCES_MAX: usize = 12;
/// Marks a cell that has no accepted snapshot.
const NEW_MARK: char = '*';
/// Marks a cell in which something stood in for NICs.
const SUBSTITUTED_MARK: char = '~';

const OUTCOMES: [Outcome; 9] = [
    Outcome::Pass,
    Outcome::Xfail,
    Outcome::Fail,
    Outcome::Skip,
    Outcome::Unsupported,
    Outcome::Panic,
    Outcome::Hang,
    Outcome::BootFail,
    Outcome::Error,
];

/// Renders all of it for a file or a pipe.
pub fn render(matrix: &Matrix) -> String {
    render_in(matrix, WIDTH)
}

/// Renders all of it in so many columns.
pub fn render_in(matrix: &Matrix, width: usize) -> String {
    let width = width.max(WIDTH_MIN);
    let mut out = grid(matrix, width);
    out += &groups(matrix, width);
    out += &features(matrix, width);
    out += &skips(matrix, width);
    out += &substitutes::paragraph(matrix, width);
    out += &problems(matrix, width);
    out.push('\n');
    out += &summary(matrix);
    // What is made of whole lines, as a condition and its numbers.
    Look { width, ..Look::PLAIN }.dress(&out)
}

pub use crate::report::grid::substitutes::of_cell as substitutions;

/// The verdicts: a row for each topology and a column for each kernel, or the other way round, in words where they
/// fit, else in letters.
pub fn grid(matrix: &Matrix, limit: usize) -> String {
    let topologies: Vec<&str> = matrix.grid.rows.keys().map(String::as_str).collect();
    let kernels: Vec<&str> = matrix.grid.kernels.iter().map(String::as_str).collect();
    let word = |topology: usize, kernel: usize| {
        let outcome = matrix.grid.rows[topology][kernel];
        let mark = mark(matrix, topologies[topology], kernels[kernel]);
        format!("{}{}", outcome.map_or("not run", Outcome::word), mark.unwrap_or_default())
    };
    let mut out = if width(&topologies, &kernels) <= limit {
        table(&topologies, &kernels, word)
    } else if width(&kernels, &topologies) <= limit {
        table(&kernels, &topologies, |kernel, topology| word(topology, kernel))
    } else {
        letters::grid(matrix, limit)
    };
    if matrix.new_cells() > 0 {
        let _ = writeln!(out, "{NEW_MARK} has no accepted snapshot; its own conditions decided");
    }
    if matrix.cells.iter().any(|cell| cell.snapshot.status == SnapshotStatus::Substituted) {
        let _ = writeln!(
            out,
            "{SUBSTITUTED_MARK} is from a substitute, compared with no snapshot; its own conditions decided"
        );
    }
    out.push_str(&not_compared(matrix));
    out
}

/// What was not looked at in comparisons with accepted texts, and in how many cells.
fn not_compared(matrix: &Matrix) -> String {
    let mut cells: IndexMap<&str, usize> = IndexMap::new();
    for why in matrix.cells.iter().filter_map(|cell| cell.snapshot.not_compared.as_deref()) {
        *cells.entry(why).or_default() += 1;
    }
    let line = |(why, cells): (&&str, &usize)| {
        format!("{cells} of {} cells: {why}; `lab accept` records them\n", matrix.cells.len())
    };
    cells.iter().map(line).collect()
}

fn width(rows: &[&str], columns: &[&str]) -> usize {
    longest(rows) + columns.iter().map(|column| column_width(column) + 2).sum::<usize>()
}

fn longest(names: &[&str]) -> usize {
    names.iter().map(|name| name.len()).max().unwrap_or(0)
}

fn column_width(name: &str) -> usize {
    // The longest of them is rare; a column that has it is wider.
    let usual = OUTCOMES.iter().filter(|outcome| **outcome != Outcome::Unsupported);
    let words = usual.map(|outcome| outcome.word().len() + 1).max().unwrap_or(0);
    name.len().max(words)
}

fn table(rows: &[&str], columns: &[&str], cell: impl Fn(usize, usize) -> String) -> String {
    let names = longest(rows);
    let mut out = " ".repeat(names);
    let cells = |index: usize| (0..rows.len()).map(move |row| (row, index));
    let width = |index: usize| {
        let longest = cells(index).map(|(row, index)| cell(row, index).len()).max().unwrap_or(0);
        column_width(columns[index]).max(longest)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for (column, width) in columns.iter().zip(&widths) {
        let _ = write!(out, "  {column:width$}");
    }
    trim_line(&mut out);
    for (row, name) in rows.iter().enumerate() {
        let _ = write!(out, "{name:names$}");
        for (index, width) in widths.iter().enumerate() {
            let _ = write!(out, "  {:width$}", cell(row, index));
        }
        trim_line(&mut out);
    }
    out
}

fn trim_line(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

fn mark(matrix: &Matrix, topology: &str, kernel: &str) -> Option<String> {
    let mut cells = matrix.cells.iter();
    let cell = cells.find(|cell| cell.document.topology == topology && cell.document.kernel.id == kernel)?;
    match cell.snapshot.status {
        SnapshotStatus::New => Some(NEW_MARK.to_string()),
        SnapshotStatus::Substituted => Some(SUBSTITUTED_MARK.to_string()),
        SnapshotStatus::None | SnapshotStatus::Same | SnapshotStatus::Differs => None,
    }
}

/// For each topology the kernels that behave alike, and the lines in which they do not. Of topologies without a
/// difference there is one line for all that end in the same way.
fn groups(matrix: &Matrix, width: usize) -> String {
    let mut out = String::new();
    let mut without: IndexMap<String, Vec<String>> = IndexMap::new();
    let has_run = |topology: &str| {
        let mut cells = matrix.cells.iter().filter(|cell| cell.document.topology == topology);
        cells.any(|cell| cell.document.outcome != Outcome::Skip)
    };
    for Behaviours { topology, groups, differences: lines, .. } in &matrix.groups {
        let said = match &groups[..] {
            // Skips have paragraphs of their own.
            [] if !has_run(topology) => continue,
            [] => "no kernel came to a result".to_owned(),
            [only] if only.kernels.len() == 1 => format!("{} only", only.range),
            [only] if only.kernels.len() == matrix.grid.kernels.len() => {
                format!("all {} kernels behave alike", only.kernels.len())
            }
            [only] => format!("{} kernels behave alike", only.kernels.len()),
            several => {
                let _ = writeln!(out, "\n{topology}: {} behaviours", several.len());
                out += &wrap(several.iter().map(|group| group.range.clone()), " | ", "  ", width);
                out += &differences(lines, "    ", width);
                continue;
            }
        };
        without.entry(said).or_default().push(topology.clone());
    }
    for (said, topologies) in without {
        match &topologies[..] {
            [only] => {
                let _ = writeln!(out, "\n{only}: {said}");
            }
            several => {
                let _ = writeln!(out, "\n{} topologies, {said}:", several.len());
                out += &wrap(several.iter().cloned(), ", ", "  ", width);
            }
        }
    }
    out
}

/// Kernels whose devices have other features: the ranges once for all topologies in which they are the same.
fn features(matrix: &Matrix, width: usize) -> String {
    let mut by_ranges: IndexMap<Vec<&str>, Vec<String>> = IndexMap::new();
    for one in matrix.groups.iter().filter(|one| one.features.len() > 1) {
        let ranges = one.features.iter().map(|group| group.range.as_str()).collect();
        by_ranges.entry(ranges).or_default().push(one.topology.clone());
    }
    let mut out = String::new();
    for (ranges, topologies) in by_ranges {
        let of = match &topologies[..] {
            [only] => only.clone(),
            several => format!("{} topologies", several.len()),
        };
        let _ = writeln!(out, "\n{of}: devices differ in features (--format json names them)");
        out += &wrap(ranges.into_iter().map(str::to_owned), " | ", "  ", width);
    }
    out
}

/// Lines as `what: one | other`. What differs alike in several trials is shown once, and so is another name for the
/// same number of frames, after what really differs: drop reasons come and go with kernels.
pub fn differences(differences: &[Difference], indent: &str, width: usize) -> String {
    let mut alike: IndexMap<(bool, &str, Vec<String>), Vec<&Difference>> = IndexMap::new();
    for one in differences {
        let renamed = is_renamed(one);
        let (item, values) = if renamed {
            let item = one.item.rsplit_once(", ").map_or(one.item.as_str(), |(_, last)| last);
            (item, one.values.iter().map(|value| behaviour::without_numbers(value)).collect())
        } else {
            (without_trial(one), one.values.clone())
        };
        alike.entry((renamed, item, values)).or_default().push(one);
    }
    alike.sort_by(|a, _, b, _| a.0.cmp(&b.0));
    let mut out = String::new();
    for ((renamed, item, _), lines) in alike.iter().take(DIFFERENCES_MAX) {
        let (where_, more) = match (lines.len(), *renamed) {
            (1, _) => (lines[0].item.clone(), String::new()),
            (count, true) => ((*item).to_owned(), format!(" (and {} lines alike)", count - 1)),
            (count, false) => {
                let first = lines[0].item.strip_suffix(item).unwrap_or_default().trim_end_matches(", ");
                (format!("{first} and {} more, {item}", count - 1), String::new())
            }
        };
        let values = &lines[0].values;
        let line = format!("{indent}{where_}: {}{more}", values.join(" | "));
        if line.chars().count() <= width {
            let _ = writeln!(out, "{line}");
        } else {
            let _ = writeln!(out, "{indent}{where_}:");
            let last = values.len().saturating_sub(1);
            let pieces = values
                .iter()
                .enumerate()
                .map(|(index, value)| if index == last { format!("{value}{more}") } else { value.clone() });
            out += &wrap(pieces, " | ", &format!("{indent}    "), width);
        }
    }
    let more = alike.len().saturating_sub(DIFFERENCES_MAX);
    if more > 0 {
        let _ = writeln!(out, "{indent}and {more} more: --format json has them");
    }
    out
}

fn without_trial(difference: &Difference) -> &str {
    let item = difference.item.as_str();
    let below = difference.trial.as_deref().and_then(|trial| item.strip_prefix(trial)?.strip_prefix(", "));
    below.unwrap_or(item)
}

/// Whether the groups have the same numbers and other words for them.
fn is_renamed(difference: &Difference) -> bool {
    let numbers = |value: &String| -> Vec<String> {
        let words = value.split([' ', ',']).filter(|word| word.parse::<u64>().is_ok());
        words.map(str::to_owned).collect()
    };
    let first = difference.values.first().map(numbers).unwrap_or_default();
    !first.is_empty() && difference.values.iter().all(|value| numbers(value) == first)
}

/// What could not be run, each reason once: on which kernels, and which topologies.
fn skips(matrix: &Matrix, width: usize) -> String {
    let mut kernels: IndexMap<(&str, &str), Vec<String>> = IndexMap::new();
    for cell in matrix.cells.iter().filter(|cell| cell.document.outcome == Outcome::Skip) {
        let reason = cell.document.reason.as_deref().unwrap_or_default();
        let key = (cell.document.topology.as_str(), reason);
        kernels.entry(key).or_default().push(cell.document.kernel.id.clone());
    }
    let mut topologies: IndexMap<(&str, Vec<String>), Vec<String>> = IndexMap::new();
    for ((topology, reason), kernels) in kernels {
        topologies.entry((reason, kernels)).or_default().push(topology.to_owned());
    }
    let mut out = String::new();
    for ((reason, kernels), topologies) in topologies {
        let range = behaviour::ranges(&matrix.grid.kernels, &kernels);
        let reason = in_a_line(reason);
        match &topologies[..] {
            [only] => {
                let _ = write!(out, "\n{}", sentence(&format!("SKIP {only} on {range}: {reason}"), width));
            }
            several => {
                let line = format!("SKIP {} topologies on {range}: {reason}", several.len());
                let _ = write!(out, "\n{}", sentence(&line, width));
                out += &wrap(several.iter().cloned(), ", ", "  ", width);
            }
        }
    }
    out
}

/// The line of a reason that says what happened. A skip's further lines say what the kernel lacks.
fn in_a_line(reason: &str) -> String {
    let mut lines = reason.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    if !first.ends_with(':') {
        return first.to_owned();
    }
    format!("{first} {}", lines.collect::<Vec<_>>().join(", "))
}

/// Counts and cost.
pub fn summary(matrix: &Matrix) -> String {
    let counts = OUTCOMES.iter().map(|outcome| (matrix.count(*outcome), outcome.word()));
    let counts: Vec<String> =
        counts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let mut out = format!("{} cells", matrix.cells.len());
    if !counts.is_empty() {
        let _ = write!(out, ": {}", counts.join(", "));
    }
    let new = matrix.new_cells();
    if new > 0 {
        let _ = write!(out, "; {new} without a snapshot: `lab accept` takes what they did");
    }
    out.push('\n');
    // A matrix that was merged from others' results has no cost of its own.
    if matrix.measures != Measures::default() {
        out += &cost(&matrix.measures);
    }
    if matrix.interrupted {
        let missing = matrix.missing();
        let _ = writeln!(out, "interrupted: {} cells were not run", missing.len());
        for (topology, kernel) in missing {
            let _ = writeln!(out, "  missing: {topology} on {kernel}");
        }
    }
    out
}

/// Wall-clock figures.
fn cost(measures: &Measures) -> String {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let mut out = format!(
        "{:.1} s, of which {:.1} s to save machines; {:.1} cells/s, median cell {:.2} s, {} at a time",
        seconds(measures.wall_ms),
        seconds(measures.prepare_ms),
        measures.cells_per_s,
        seconds(measures.median_cell_ms),
        measures.jobs
    );
    if measures.peak_bytes > 0 {
        let _ = write!(out, ", {} MB at most", measures.peak_bytes / 1_000_000);
    }
    out.push('\n');
    out
}

fn sentence(text: &str, width: usize) -> String {
    wrap(text.split(' ').map(str::to_owned), " ", "", width)
}

/// Puts pieces on lines. A piece that is too long for any line gets one of its own.
fn wrap(pieces: impl Iterator<Item = String>, separator: &str, indent: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for piece in pieces {
        let columns = |text: &str| text.chars().count();
        // The separator is at the end of a line, too, without its blank.
        let after = separator.trim_end().len();
        let length = indent.len() + columns(&line) + separator.len() + columns(&piece) + after;
        if !line.is_empty() && length > width {
            let _ = writeln!(out, "{indent}{}{}", line.trim_end(), separator.trim_end());
            line = if out.is_empty() { String::new() } else { "  ".into() };
        } else if !line.is_empty() {
            line += separator;
        }
        line += &piece;
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{indent}{line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::matrix::tests::{LOCAL, ended, finished};
    use crate::report::matrix::{Measures, judge};
    use crate::report::snapshot;

    fn matrix(topologies: usize, kernels: usize) -> Matrix {
        let kernels: Vec<String> = (0..kernels).map(|n| format!("6.{n}.{}", n * 7)).collect();
        let names: Vec<String> =
            (0..topologies).map(|n| format!("a-topology-with-a-long-name-{n}")).collect();
        let mut cells = Vec::new();
        for name in &names {
            for (index, kernel) in kernels.iter().enumerate() {
                let lost = if index > 2 { 28 } else { 0 };
                let document = finished(name, kernel, Outcome::Pass, lost, 0);
                let accepted = snapshot::behaviour(&document);
                cells.push(judge(document, "t.toml", (index != 1).then_some(&accepted), LOCAL));
            }
        }
        let measures = Measures {
            wall_ms: 31_200,
            median_cell_ms: 430,
            cells_per_s: 1.94,
            jobs: 2,
            ..Measures::default()
        };
        Matrix::new(cells, &names, &kernels, measures)
    }

    fn is_narrow(text: &str) {
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line:?}");
            assert_eq!(line, line.trim_end(), "{line:?} ends in spaces");
        }
    }

    #[test]
    fn few_kernels_are_reported_in_words() {
        let text = render(&matrix(2, 5));
        is_narrow(&text);
        assert_eq!(
            text,
            "                               6.0.0       6.1.7       6.2.14      6.3.21      6.4.28\n\
             a-topology-with-a-long-name-0  pass        pass*       pass        pass        pass\n\
             a-topology-with-a-long-name-1  pass        pass*       pass        pass        pass\n\
             * has no accepted snapshot; its own conditions decided\n\
             \n\
             a-topology-with-a-long-name-0: 2 behaviours\n  \
               6.0.0 .. 6.2.14 | 6.3.21, 6.4.28\n    \
                 main, flow f (packet): 100 delivered | 72 delivered\n\
             \n\
             a-topology-with-a-long-name-1: 2 behaviours\n  \
               6.0.0 .. 6.2.14 | 6.3.21, 6.4.28\n    \
                 main, flow f (packet): 100 delivered | 72 delivered\n\
             \n\
             10 cells: 10 pass; 2 without a snapshot: `lab accept` takes what they did\n\
             31.2 s, of which 0.0 s to save machines; 1.9 cells/s, median cell 0.43 s, 2 at a time\n"
        );
    }

    #[test]
    fn one_topology_on_many_kernels_is_a_column() {
        let text = grid(&matrix(1, 25), WIDTH);
        is_narrow(&text);
        assert!(text.contains("\n6.1.7     pass*\n6.2.14    pass\n"), "{text}");
    }

    #[test]
    fn many_kernels_are_letters_with_a_legend() {
        for kernels in [25, 60] {
            let text = grid(&matrix(4, kernels), WIDTH);
            is_narrow(&text);
            assert!(text.contains("-name-0 . .*. . ."), "{text}");
            assert!(text.contains(&format!("{kernels} 6.{}.", kernels - 1)), "{text}");
            assert!(text.contains(". pass"), "{text}");
        }
    }

    #[test]
    fn a_narrow_terminal_gets_a_grid_that_fits() {
        for (topologies, kernels, width) in [(2, 5, 60), (4, 25, 40), (4, 25, 60), (4, 60, 80), (1, 25, 40)] {
            let text = render_in(&matrix(topologies, kernels), width);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line:?} in {text}");
            }
        }
        let text = grid(&matrix(4, 25), 40);
        assert!(text.contains("\na-topology-with-a-long-name-0\n  . .*. . ."), "{text}");
        assert!(text.starts_with("                    1 1 1 1 1 1 1 1 1 1\n  1 2 3"), "{text}");
    }

    #[test]
    fn topologies_that_end_alike_are_reported_together() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let kernels = ["6.1.1", "6.12.2"].map(str::to_owned);
        let mut cells = Vec::new();
        for (name, outcome) in names.iter().zip([Outcome::Pass, Outcome::Skip, Outcome::Skip]) {
            for kernel in &kernels {
                let document = match outcome {
                    Outcome::Pass => finished(name, kernel, outcome, 0, 0),
                    _ => ended(name, kernel, outcome, "it lacks:\n  igb"),
                };
                cells.push(judge(document, "t.toml", None, LOCAL));
            }
        }
        let text = render(&Matrix::new(cells, &names, &kernels, Measures::default()));
        for expected in [
            "\na: all 2 kernels behave alike\n",
            "\nSKIP 2 topologies on 6.1.1, 6.12.2: it lacks: igb\n  b, c\n",
        ] {
            assert!(text.contains(expected), "{expected:?} in {text}");
        }
        assert!(!text.contains("no kernel"), "{text}");
    }

    #[test]
    fn cells_that_fail_alike_are_reported_once() {
        let names = ["t".to_owned(), "u".to_owned()];
        let kernels = ["6.1.1", "6.6.6", "6.12.2", "6.18.3"].map(str::to_owned);
        let lost = [3, 3, 4, 3];
        let cells = names.iter().flat_map(|name| {
            kernels.iter().zip(lost).map(move |(kernel, lost)| {
                judge(finished(name, kernel, Outcome::Fail, lost, 0), "t.toml", None, LOCAL)
            })
        });
        let text = render(&Matrix::new(cells.collect(), &names, &kernels, Measures::default()));
        is_narrow(&text);
        for name in &names {
            for kernels in ["6.1.1, 6.6.6, 6.18.3", "6.12.2"] {
                let head = format!("FAIL {name} on {kernels}: the topology's own conditions do not hold\n");
                assert!(text.contains(&head), "{head:?} in {text}");
            }
        }
        assert_eq!(text.matches("expected 0, observed 3").count(), 2, "{text}");
    }

    #[test]
    fn what_is_not_expected_is_reported_with_what_to_do() {
        let kernels = vec!["6.1.1".to_owned()];
        let good = snapshot::behaviour(&finished("t", "6.1.1", Outcome::Pass, 0, 0));
        let skip = "6.1.1-amd64 cannot run this topology; it lacks:\n  igb\n  sch_x";
        let hang = "the guest hung\n  | line\nnext: run it again";
        for (document, accepted, expected) in [
            (finished("t", "6.1.1", Outcome::Pass, 3, 0), Some(&good), "FAIL t on 6.1.1: differs"),
            (finished("t", "6.1.1", Outcome::Pass, 3, 0), Some(&good), "100 delivered | 97 delivered"),
            (finished("t", "6.1.1", Outcome::Fail, 3, 0), None, "all arrive: expected 0, observed 3"),
            (finished("t", "6.1.1", Outcome::Pass, 3, 2), None, "unaccounted for: 2 frames"),
            (ended("t", "6.1.1", Outcome::Skip, skip), None, "SKIP t on 6.1.1: 6.1.1-amd64 cannot"),
            (ended("t", "6.1.1", Outcome::Skip, skip), None, "lacks: igb, sch_x"),
            (ended("t", "6.1.1", Outcome::Hang, hang), None, "next: run it again"),
            (ended("t", "6.1.1", Outcome::Panic, hang), Some(&good), "another behaviour was accepted"),
        ] {
            let cell = judge(document, "t.toml", accepted, LOCAL);
            let text = render(&Matrix::new(vec![cell], &["t".to_owned()], &kernels, Measures::default()));
            is_narrow(&text);
            assert!(text.contains(expected), "{expected:?} in {text}");
        }
    }

    #[test]
    fn a_run_that_was_not_made_has_no_behaviour_to_compare() {
        let good = snapshot::behaviour(&finished("t", "6.1.1", Outcome::Pass, 0, 0));
        for outcome in [Outcome::Error, Outcome::BootFail] {
            let cell = judge(ended("t", "6.1.1", outcome, "the disk is full"), "t.toml", Some(&good), LOCAL);
            let kernels = ["6.1.1".to_owned()];
            let text = render(&Matrix::new(vec![cell], &["t".to_owned()], &kernels, Measures::default()));
            assert!(text.contains("the disk is full") && !text.contains("another behaviour"), "{text}");
        }
    }
}
