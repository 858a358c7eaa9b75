//! Results of several machines as one: a column for each kernel, a row for each topology, and no cell twice.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::document::Document;
use crate::outcome::Outcome;
use crate::snapshot;

/// Tells what `lab matrix` prints from what `lab run` prints.
#[derive(Deserialize)]
struct Probe {
    cells: Option<IgnoredAny>,
}

/// What `lab matrix` prints.
#[derive(Deserialize)]
struct Cells {
    cells: Vec<Document>,
}

/// Why results do not make one grid.
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

/// Results by topology and kernel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    cells: BTreeMap<(String, Kernel), (Document, String)>,
}

/// A column, ordered by the numbers in its name: 6.9 comes before 6.12.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kernel(String);

impl Kernel {
    /// The running kernel of two machines is two kernels, so it goes by its release.
    fn of(document: &Document) -> Self {
        let kernel = &document.kernel;
        Self(if kernel.backend == "host" { format!("{} (host)", kernel.release) } else { kernel.id.clone() })
    }

    fn numbers(&self) -> Vec<u64> {
        self.0.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    }
}

impl Ord for Kernel {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers().cmp(&other.numbers()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Kernel {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Merged {
    /// Takes in one file's text. `file` is what errors call it.
    ///
    /// # Errors
    /// It is no result, or contradicts one that was taken before.
    pub fn add(&mut self, file: &str, json: &str) -> Result<(), MergeError> {
        let documents = read(json)
            .map_err(|error| MergeError::NoResult { file: file.into(), reason: error.to_string() })?;
        documents.into_iter().try_for_each(|document| self.add_document(file, document))
    }

    fn add_document(&mut self, file: &str, mut document: Document) -> Result<(), MergeError> {
        let kernel = Kernel::of(&document);
        document.kernel.id.clone_from(&kernel.0);
        let key = (document.topology.clone(), kernel);
        let Some((known, known_file)) = self.cells.get(&key) else {
            self.cells.insert(key, (document, file.into()));
            return Ok(());
        };
        if known.outcome == document.outcome && snapshot::text(known) == snapshot::text(&document) {
            return Ok(());
        }
        let (topology, kernel) = key;
        Err(MergeError::Contradiction {
            topology,
            kernel: kernel.0,
            one: known_file.clone(),
            other: file.into(),
        })
    }

    /// All results, by topology and then kernel; each kernel's id is its column.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.cells.values().map(|(document, _)| document)
    }

    /// The columns, in order.
    pub fn kernels(&self) -> Vec<String> {
        let mut kernels: Vec<&Kernel> = self.cells.keys().map(|(_, kernel)| kernel).collect();
        kernels.sort();
        kernels.dedup();
        kernels.into_iter().map(|kernel| kernel.0.clone()).collect()
    }

    /// The rows, in order.
    pub fn topologies(&self) -> Vec<String> {
        let mut topologies: Vec<String> = self.cells.keys().map(|(topology, _)| topology.clone()).collect();
        topologies.dedup();
        topologies
    }

    /// Whether every cell is as expected, or skipped with a reason.
    pub fn is_expected(&self) -> bool {
        self.documents().all(|document| document.outcome.is_expected() || document.outcome == Outcome::Skip)
    }

    /// The verdicts: a row for each topology, a column for each kernel.
    pub fn grid(&self) -> String {
        let (kernels, topologies) = (self.kernels(), self.topologies());
        let first = topologies.iter().map(String::len).max().unwrap_or(0);
        let mut out = format!("{:first$}  {}\n", "", kernels.join("  "));
        for topology in topologies {
            let _ = write!(out, "{topology:first$}");
            for kernel in &kernels {
                let cell = self.cells.get(&(topology.clone(), Kernel(kernel.clone())));
                let word = cell.map_or("not run", |(document, _)| document.outcome.word());
                let _ = write!(out, "  {word:width$}", width = kernel.len());
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out
    }
}

fn read(json: &str) -> serde_json::Result<Vec<Document>> {
    match serde_json::from_str::<Probe>(json)?.cells {
        Some(_) => Ok(serde_json::from_str::<Cells>(json)?.cells),
        None => Ok(vec![serde_json::from_str(json)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{KernelDocument, Timing};

    fn document(topology: &str, (id, release): (&str, &str), outcome: Outcome, reason: &str) -> Document {
        let backend = if id == "host" { "host" } else { "vm" };
        let kernel = KernelDocument {
            id: id.into(),
            release: release.into(),
            backend: backend.into(),
            accelerator: "none".into(),
        };
        Document::unfinished(topology, kernel, outcome, reason.into(), Timing::default())
    }

    fn merged(files: &[(&str, String)]) -> Result<Merged, MergeError> {
        let mut merged = Merged::default();
        files.iter().try_for_each(|(file, json)| merged.add(file, json))?;
        Ok(merged)
    }

    const TWELVE: (&str, &str) = ("host", "6.1.0-56-cloud-amd64");
    const THIRTEEN: (&str, &str) = ("host", "6.12.57+deb13-cloud-amd64");
    const PINNED: (&str, &str) = ("6.9.12", "6.9.12-amd64");

    fn json(document: &Document) -> String {
        serde_json::to_string(document).expect("text keys only")
    }

    #[test]
    fn machines_and_a_matrix_make_one_grid() {
        let matrix = format!(
            r#"{{"cells":[{},{}],"grid":{{}}}}"#,
            json(&document("b", PINNED, Outcome::Xfail, "")),
            json(&document("a", PINNED, Outcome::Pass, ""))
        );
        let all = merged(&[
            ("1", json(&document("a", THIRTEEN, Outcome::Pass, ""))),
            ("2", json(&document("a", TWELVE, Outcome::Skip, "it lacks a NIC"))),
            ("3", matrix),
        ])
        .expect("nothing contradicts");
        let expected = "   6.1.0-56-cloud-amd64 (host)  6.9.12  6.12.57+deb13-cloud-amd64 (host)\n\
                        a  skip                         pass    pass\n\
                        b  not run                      xfail   not run\n";
        assert_eq!(all.grid(), expected);
        assert!(all.is_expected());
    }

    #[test]
    fn a_cell_is_taken_twice_only_if_it_says_the_same() {
        let pass = || json(&document("a", TWELVE, Outcome::Pass, ""));
        let twice = merged(&[("1", pass()), ("2", pass())]).expect("the same");
        assert_eq!(twice.documents().count(), 1);
        for (outcome, reason) in [(Outcome::Fail, ""), (Outcome::Pass, "for another reason")] {
            let other = json(&document("a", TWELVE, outcome, reason));
            let error = merged(&[("1", pass()), ("2", other)]).expect_err("they differ");
            assert_eq!(
                error,
                MergeError::Contradiction {
                    topology: "a".into(),
                    kernel: "6.1.0-56-cloud-amd64 (host)".into(),
                    one: "1".into(),
                    other: "2".into()
                }
            );
        }
    }

    #[test]
    fn what_is_cut_short_or_bad_is_never_green() {
        let whole = json(&document("a", TWELVE, Outcome::Pass, ""));
        for text in ["", "{}", "[]", r#"{"cells":[{}]}"#, &whole[..whole.len() - 1]] {
            assert!(matches!(merged(&[("1", text.into())]), Err(MergeError::NoResult { .. })), "{text}");
        }
        for outcome in [Outcome::Fail, Outcome::Panic, Outcome::Hang, Outcome::BootFail, Outcome::Error] {
            let bad = merged(&[("1", json(&document("a", TWELVE, outcome, "x")))]).expect("it is a result");
            assert!(!bad.is_expected(), "{outcome}");
        }
    }
}
