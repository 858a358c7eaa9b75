//! A checked topology, from a file, a text or the builder.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use crate::testing::build::TopologyBuilder;
use bondlab_core::net::clean;
use bondlab_core::topology;
use bondlab_core::topology::source::{Source, SourceFile};
use bondlab_host::include::{self, SourceError};

/// A checked topology: namespaces, links, and what happens on them.
///
/// ```
/// let topology = lab::Topology::from_text("empty", "[ns.node.dummy.d0]\n")?;
/// assert_eq!(topology.name(), "empty");
/// let wrong = lab::Topology::from_text("wrong", "[ns.node.dumy.d0]\n").unwrap_err();
/// assert!(wrong.to_string().contains("dumy"));
/// # Ok::<(), lab::TopologyError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    name: String,
    text: String,
    /// Files that it includes, by their paths from its own folder.
    included: Vec<(PathBuf, String)>,
    checked: topology::Topology,
}

impl Topology {
    /// Reads a topology file, and the files that it includes. A relative path is looked up from the working directory, which is the package's own folder in
    /// `cargo test`.
    ///
    /// # Errors
    /// A file that cannot be read, and all that is wrong with it: file, line, column and a hint for each mistake.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let path = path.as_ref();
        let source = include::read(path).map_err(|error| match error {
            SourceError::File(error) => TopologyError::new(format!("error: {error}")),
            SourceError::Include(errors) => TopologyError::new(errors.pretty(false)),
        })?;
        let name = path.file_stem().map_or_else(|| "topology".into(), |stem| stem.to_string_lossy());
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::read_source(&clean::line(&name), &source, folder)
    }

    /// Reads the text of a topology file. `name` is what results call it.
    ///
    /// # Errors
    /// As [`Topology::from_file`].
    pub fn from_text(name: &str, text: &str) -> Result<Self, TopologyError> {
        Self::read(name, name, text.into())
    }

    /// Begins to build a topology. `name` is what results call it.
    #[must_use]
    pub fn builder(name: &str) -> TopologyBuilder {
        TopologyBuilder::new(name)
    }

    pub(crate) fn read(name: &str, path: &str, text: String) -> Result<Self, TopologyError> {
        Self::read_source(name, &Source::of(path, &text), Path::new(""))
    }

    fn read_source(name: &str, source: &Source, folder: &Path) -> Result<Self, TopologyError> {
        // It becomes the name of a file.
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(TopologyError::new(format!(
                "error: `{}` is no name of a topology",
                clean::line(name)
            )));
        }
        let all = topology::Topology::variants_of(name, source, &[])
            .map_err(|errors| TopologyError::new(errors.pretty(false)))?;
        // Of a file with parameters the first variant.
        let checked = all.into_iter().next().expect("a file has one variant at least");
        let part = |file: &SourceFile| source.text()[file.range.clone()].to_owned();
        let (own, below) = source.files().split_last().expect("a source has its own file at least");
        let included = below.iter().map(|file| {
            let path = Path::new(&file.path);
            (path.strip_prefix(folder).unwrap_or(path).to_owned(), part(file))
        });
        Ok(Self { name: name.into(), text: part(own), included: included.collect(), checked })
    }

    /// Writes the file, and those that it includes, into a folder; returns the file's path.
    pub(crate) fn write_below(&self, folder: &Path) -> io::Result<PathBuf> {
        for (path, text) in &self.included {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        let own = folder.join(format!("{}.toml", self.name));
        fs::write(&own, &self.text)?;
        Ok(own)
    }

    /// What results call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of its own file, without those that it includes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The kernel that it was written for, if it names one.
    #[must_use]
    pub fn kernel(&self) -> Option<&str> {
        self.checked.kernel.as_deref()
    }

    pub(crate) fn about(&self) -> Option<&str> {
        self.checked.about.as_deref()
    }
}

/// All that is wrong with a topology. `Display` and `Debug` are the report that the command `lab` prints.
#[derive(Clone, PartialEq, Eq)]
pub struct TopologyError {
    report: String,
}

impl TopologyError {
    pub(crate) fn new(report: String) -> Self {
        Self { report: report.trim_end().to_owned() }
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

/// As `Display`: this is what `unwrap()` and a test that returns an error print.
impl fmt::Debug for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.report)
    }
}

impl std::error::Error for TopologyError {}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "[ns.node.dummy.d0]\naddresses = [\"192.0.2.1/24\"]\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_file_is_read_with_those_that_it_includes_and_written_with_them() {
        let own = "include = [\"parts/common.inc\"]\n[ns.node.dummy.d1]\n";
        let from = folder(&[("own.toml", own), ("parts/common.inc", COMMON)]);
        let topology = Topology::from_file(from.path().join("own.toml")).unwrap();
        assert_eq!((topology.name(), topology.text()), ("own", own));
        assert_eq!(topology.checked.links.len(), 2, "a link of either file");

        let to = tempfile::tempdir().unwrap();
        let written = topology.write_below(to.path()).unwrap();
        assert_eq!(Topology::from_file(written).unwrap(), topology, "what is run is what was read");
    }

    #[test]
    fn a_mistake_in_an_included_file_names_that_file() {
        let from = folder(&[
            ("own.toml", "include = [\"common.inc\"]\n"),
            ("common.inc", "[ns.node.dumy.d0]\n"),
            ("lost.toml", "include = [\"nowhere.inc\"]\n"),
        ]);
        let wrong = Topology::from_file(from.path().join("own.toml")).unwrap_err().to_string();
        assert!(wrong.contains("common.inc:1") && wrong.contains("dumy"), "{wrong}");
        let lost = Topology::from_file(from.path().join("lost.toml")).unwrap_err().to_string();
        assert!(lost.contains("lost.toml:1") && lost.contains("nowhere.inc"), "{lost}");
    }
}
