//! Results of several machines as one matrix: a column for each kernel, a row for each topology, no cell twice.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::clean;
use crate::document::Document;
use crate::matrix::{Cell, Matrix, Measures, Policy, judge};
use crate::outcome::Outcome;
use crate::snapshot;

/// What a file has.
#[derive(Debug)]
pub enum Kept {
    /// Of `lab run`: nobody has compared it with anything yet.
    Run(Box<Document>),
    /// Of `lab matrix`.
    Matrix(Vec<Cell>),
}

/// Tells the two apart, without losing the order of what is in them.
#[derive(Deserialize)]
struct Probe {
    cells: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Cells {
    cells: Vec<Cell>,
}

impl Kept {
    /// Reads what `--format json` printed. `file` is what an error calls it.
    ///
    /// # Errors
    /// It is something else, or cut short.
    pub fn parse(file: &str, json: &str) -> Result<Self, MergeError> {
        let one_line = clean::json(json, &[]);
        // Why a run ended, and its canonical text, have several lines; a drop reason, of the same name, has one.
        let lines = clean::json(json, &["reason", "text"]);
        let parse = || match serde_json::from_str::<Probe>(&one_line)?.cells {
            Some(_) => {
                let mut cells = serde_json::from_str::<Cells>(&one_line)?.cells;
                for (cell, lines) in cells.iter_mut().zip(serde_json::from_str::<Cells>(&lines)?.cells) {
                    cell.document.reason = lines.document.reason;
                    cell.text = lines.text;
                }
                Ok(Self::Matrix(cells))
            }
            None => {
                let lines: Document = serde_json::from_str(&lines)?;
                Ok(Self::Run(Box::new(Document { reason: lines.reason, ..serde_json::from_str(&one_line)? })))
            }
        };
        parse().map_err(|error: serde_json::Error| MergeError::NoResult {
            file: file.into(),
            reason: clean::line(&error.to_string()).into_owned(),
        })
    }
}

/// Why results do not make one matrix.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MergeError {
    /// Not what `--format json` prints.
    #[error("{file}: no result of `lab run` or `lab matrix` with --format json: {reason}")]
    NoResult {
        /// Where it is from.
        file: String,
        /// What serde says.
        reason: String,
    },
    /// Two results that say different things. To show one of them would hide the other.
    #[error(
        "{topology} on {kernel} ended differently in {one} and in {other}: merge only one of them, or look into why"
    )]
    Contradiction {
        /// The row.
        topology: String,
        /// The column.
        kernel: String,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
}

/// Cells by topology and kernel, and where each is from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    cells: BTreeMap<(String, Column), (Cell, String)>,
}

/// A kernel, ordered by the numbers in its name: 6.9 comes before 6.12.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column(String);

impl Column {
    fn numbers(&self) -> Vec<u64> {
        self.0.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    }
}

impl Ord for Column {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers().cmp(&other.numbers()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Column {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Judges what a topology did on a kernel that is not the lab's to choose. What such a kernel lacks is no difference
/// from what was accepted, so a skip stays one.
pub fn judge_as_found(document: Document, file: &str, accepted: Option<&str>) -> Cell {
    let policy = Policy { compare: document.outcome != Outcome::Skip, new_fails: false };
    judge(document, file, accepted, policy)
}

impl Merged {
    /// Takes in one cell. `file` is what an error calls where it is from.
    ///
    /// # Errors
    /// It contradicts one that was taken before.
    pub fn add(&mut self, file: &str, cell: Cell) -> Result<(), MergeError> {
        let key = (cell.document.topology.clone(), Column(cell.document.kernel.id.clone()));
        let Some((known, known_file)) = self.cells.get(&key) else {
            self.cells.insert(key, (cell, file.into()));
            return Ok(());
        };
        if known.ran == cell.ran && snapshot::same(&known.text, &cell.text) {
            return Ok(());
        }
        let (topology, Column(kernel)) = key;
        Err(MergeError::Contradiction { topology, kernel, one: known_file.clone(), other: file.into() })
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// All of it, by topology and then kernel. Not every topology has run on every kernel, which is no interruption.
    pub fn into_matrix(self) -> Matrix {
        let mut kernels: Vec<Column> = self.cells.keys().map(|(_, kernel)| kernel.clone()).collect();
        kernels.sort();
        kernels.dedup();
        let kernels: Vec<String> = kernels.into_iter().map(|Column(kernel)| kernel).collect();
        let mut topologies: Vec<String> = self.cells.keys().map(|(topology, _)| topology.clone()).collect();
        topologies.dedup();
        let cells = self.cells.into_values().map(|(cell, _)| cell).collect();
        Matrix { interrupted: false, ..Matrix::new(cells, &topologies, &kernels, Measures::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::tests::{ended, finished};
    use crate::report::grid;

    fn merged(files: &[(&str, String)]) -> Result<Merged, MergeError> {
        let mut merged = Merged::default();
        for (file, json) in files {
            let cells = match Kept::parse(file, json)? {
                Kept::Run(document) => vec![judge_as_found(*document, "t.toml", None)],
                Kept::Matrix(cells) => cells,
            };
            cells.into_iter().try_for_each(|cell| merged.add(file, cell))?;
        }
        Ok(merged)
    }

    fn json(document: &Document) -> String {
        serde_json::to_string(document).expect("text keys only")
    }

    fn passed(topology: &str, kernel: &str) -> Document {
        finished(topology, kernel, Outcome::Pass, 0, 0)
    }

    #[test]
    fn machines_and_a_matrix_make_one_grid() {
        let cell = |topology: &str| {
            let document = passed(topology, "6.9.12");
            let accepted = snapshot::text(&document);
            judge_as_found(document, "t.toml", Some(&accepted))
        };
        let names = ["a", "b"].map(String::from);
        let matrix = Matrix::new(
            names.iter().map(|n| cell(n)).collect(),
            &names,
            &["6.9.12".into()],
            Measures::default(),
        );
        let all = merged(&[
            ("1", json(&passed("a", "6.12.117 (host)"))),
            ("2", json(&ended("a", "6.1.192 (host)", Outcome::Skip, "it lacks a NIC"))),
            ("3", serde_json::to_string(&matrix).expect("text keys only")),
        ])
        .expect("nothing contradicts")
        .into_matrix();
        let expected = "   6.1.192 (host)  6.9.12      6.12.117 (host)\n\
                        a  skip            pass        pass*\n\
                        b  not run         pass        not run\n\
                        * has no accepted snapshot; its own conditions decided\n";
        assert_eq!(grid::grid(&all), expected);
        assert!(all.is_expected() && !all.interrupted);
        assert!(!grid::render(&all).contains("cells/s"), "what it cost is not known");
    }

    #[test]
    fn a_cell_is_taken_twice_only_if_it_says_the_same() {
        let pass = || json(&passed("a", "6.1.192"));
        let twice = merged(&[("1", pass()), ("2", pass())]).expect("the same");
        assert_eq!(twice.into_matrix().cells.len(), 1);
        for other in
            [finished("a", "6.1.192", Outcome::Fail, 0, 0), finished("a", "6.1.192", Outcome::Pass, 1, 0)]
        {
            let error = merged(&[("1", pass()), ("2", json(&other))]).expect_err("they differ");
            let [topology, kernel, one, other] = ["a", "6.1.192", "1", "2"].map(String::from);
            assert_eq!(error, MergeError::Contradiction { topology, kernel, one, other });
        }
    }

    #[test]
    fn what_is_cut_short_or_bad_is_never_green() {
        let whole = json(&passed("a", "6.1.192"));
        for text in ["", "{}", "[]", r#"{"cells":[{}]}"#, &whole[..whole.len() - 1]] {
            assert!(matches!(merged(&[("1", text.into())]), Err(MergeError::NoResult { .. })), "{text}");
        }
        for outcome in [Outcome::Fail, Outcome::Panic, Outcome::Hang, Outcome::BootFail, Outcome::Error] {
            let bad = merged(&[("1", json(&ended("a", "6.1.192", outcome, "x")))]).expect("it is a result");
            assert!(!bad.into_matrix().is_expected(), "{outcome}");
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_a_skip_whatever_was_accepted() {
        let skip = ended("a", "6.1.192", Outcome::Skip, "it lacks a NIC");
        assert_eq!(judge_as_found(skip, "t.toml", Some("outcome: pass")).document.outcome, Outcome::Skip);
        let other = finished("a", "6.1.192", Outcome::Pass, 1, 0);
        assert_eq!(judge_as_found(other, "t.toml", Some("outcome: pass")).document.outcome, Outcome::Fail);
    }
}
