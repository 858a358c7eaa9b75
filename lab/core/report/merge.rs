//! Results of several machines as one matrix: a column for each kernel, a row for each topology, no cell twice.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::judge::outcome::Outcome;
use crate::net::clean;
use crate::report::document::Document;
use crate::report::matrix::{Cell, Matrix, Measures, Planned, Policy, SnapshotStatus, judge};
use crate::report::snapshot;

/// What a file has.
#[derive(Debug)]
pub enum Kept {
    /// Of `lab run`: nobody has compared it with anything yet.
    Run(Box<Document>),
    /// Of `lab matrix`.
    Matrix(MatrixCells),
}

/// Tells the two apart, without losing the order of what is in them.
#[derive(Deserialize)]
struct Probe {
    cells: Option<IgnoredAny>,
}

/// Of a matrix, what is merged. A document that does not say what was planned is refused: nobody could tell whether
/// it is whole.
#[derive(Debug, Deserialize)]
pub struct MatrixCells {
    /// Those that ran.
    pub cells: Vec<Cell>,
    /// Those that were to run.
    pub planned: Planned,
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
                let mut matrix = serde_json::from_str::<MatrixCells>(&one_line)?;
                let lines = serde_json::from_str::<MatrixCells>(&lines)?.cells;
                for (cell, lines) in matrix.cells.iter_mut().zip(lines) {
                    cell.document.reason = lines.document.reason;
                    cell.text = lines.text;
                }
                Ok(Self::Matrix(matrix))
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
    planned: BTreeSet<(String, Column)>,
    new_fails: bool,
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
    /// Nothing yet. `new_fails` as in [`Policy`]: whether a cell without an accepted snapshot fails.
    pub fn new(new_fails: bool) -> Self {
        Self { new_fails, ..Self::default() }
    }

    /// Takes in what a matrix was to run. What no file has of it is missing.
    pub fn plan(&mut self, planned: Planned) {
        let all = planned.into_iter();
        let cells =
            all.flat_map(|(topology, on)| on.into_iter().map(move |id| (topology.clone(), Column(id))));
        self.planned.extend(cells);
    }

    /// Takes in one cell. `file` is what an error calls where it is from.
    ///
    /// # Errors
    /// It contradicts one that was taken before.
    pub fn add(&mut self, file: &str, mut cell: Cell) -> Result<(), MergeError> {
        if self.new_fails
            && cell.snapshot.status == SnapshotStatus::New
            && cell.document.outcome == Outcome::Pass
        {
            cell.document.outcome = Outcome::Fail;
        }
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
        self.cells.is_empty() && self.planned.is_empty()
    }

    /// All of it, by topology and then kernel. Not every topology has run on every kernel, which is no interruption
    /// where no matrix had it in its plan.
    pub fn into_matrix(self) -> Matrix {
        let places: BTreeSet<(String, Column)> = self.cells.keys().cloned().chain(self.planned).collect();
        let kernels: BTreeSet<&Column> = places.iter().map(|(_, kernel)| kernel).collect();
        let kernels: Vec<String> = kernels.into_iter().map(|Column(kernel)| kernel.clone()).collect();
        let mut planned = Planned::new();
        for (topology, Column(kernel)) in places {
            planned.entry(topology).or_default().push(kernel);
        }
        let topologies: Vec<String> = planned.keys().cloned().collect();
        let cells = self.cells.into_values().map(|(cell, _)| cell).collect();
        let mut matrix = Matrix::new(cells, &topologies, &kernels, Measures::default());
        matrix.planned = planned;
        matrix.interrupted = !matrix.missing().is_empty();
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::grid;
    use crate::report::matrix::tests::{ended, finished};

    fn merged(files: &[(&str, String)]) -> Result<Merged, MergeError> {
        let mut merged = Merged::default();
        for (file, json) in files {
            let cells = match Kept::parse(file, json)? {
                Kept::Run(document) => vec![judge_as_found(*document, "t.toml", None)],
                Kept::Matrix(matrix) => {
                    merged.plan(matrix.planned);
                    matrix.cells
                }
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
    fn cells_that_were_planned_and_did_not_run_are_missing_until_another_file_has_them() {
        let cell = || judge_as_found(passed("a", "6.9.12"), "t.toml", None);
        let names = ["a", "b"].map(String::from);
        let cut = Matrix::new(vec![cell()], &names, &["6.9.12".into()], Measures::default());
        let cut = serde_json::to_string(&cut).expect("text keys only");
        let all = merged(&[("1", cut.clone())]).expect("it is a result").into_matrix();
        assert_eq!((all.interrupted, all.missing()), (true, vec![("b", "6.9.12")]));
        assert!(grid::summary(&all).contains("missing: b on 6.9.12"), "{}", grid::summary(&all));
        let again = serde_json::to_string(&all).expect("text keys only");
        assert!(merged(&[("1", again)]).expect("it is a result").into_matrix().interrupted);
        let rest = merged(&[("1", cut), ("2", json(&passed("b", "6.9.12")))]).expect("nothing contradicts");
        let rest = rest.into_matrix();
        assert_eq!((rest.interrupted, rest.missing()), (false, Vec::new()));
        let old = r#"{"cells":[]}"#;
        assert!(matches!(merged(&[("1", old.into())]), Err(MergeError::NoResult { .. })));
    }

    #[test]
    fn a_cell_without_a_snapshot_fails_where_nobody_is_there_to_accept_it() {
        for (new_fails, expected) in [(false, true), (true, false)] {
            let mut merged = Merged::new(new_fails);
            let cell = judge_as_found(passed("a", "6.9.12"), "t.toml", None);
            merged.add("1", cell).expect("it is the first");
            assert_eq!(merged.into_matrix().is_expected(), expected);
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
