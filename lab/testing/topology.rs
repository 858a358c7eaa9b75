//! A checked topology, from a file, a text or the builder.

use std::fmt;
use std::path::Path;

use crate::host::file;
use crate::net::clean;
use crate::testing::build::TopologyBuilder;
use crate::topology;

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
    checked: topology::Topology,
}

impl Topology {
    /// Reads a topology file. A relative path is looked up from the working directory, which is the package's own folder in
    /// `cargo test`.
    ///
    /// # Errors
    /// A file that cannot be read, and all that is wrong with it: file, line, column and a hint for each mistake.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, TopologyError> {
        let path = path.as_ref();
        let text = file::read_text(path, file::TOPOLOGY_BYTES_MAX)
            .map_err(|error| TopologyError::new(format!("error: {error}")))?;
        let name = path.file_stem().map_or_else(|| "topology".into(), |stem| stem.to_string_lossy());
        Self::read(&clean::line(&name), &path.display().to_string(), text)
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
        // It becomes the name of a file.
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(TopologyError::new(format!(
                "error: `{}` is no name of a topology",
                clean::line(name)
            )));
        }
        match topology::Topology::parse(name, path, &text) {
            Ok(checked) => Ok(Self { name: name.into(), text, checked }),
            Err(errors) => Err(TopologyError::new(errors.pretty(false))),
        }
    }

    /// What results call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of its file.
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
