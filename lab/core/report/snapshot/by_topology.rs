//! The file of a topology: what was accepted, as groups of kernels that say the same.
//!
//! The content is insta's: metadata between two `---` lines, then sections. A section is a heading, `behaviour of KERNELS` or
//! `features of KERNELS`, and below it what all of these kernels say, indented. Features have sections of their own: the
//! offloads of a device change with nearly every series, and its behaviour with few of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::net::version::KernelVersion;
use crate::report::behaviour::Behaviour;
use crate::report::snapshot::comparison::FORM;

/// What separates metadata from text in a file.
const FENCE: &str = "---";
/// Begins the heading of what kernels did.
const BEHAVIOUR: &str = "behaviour of ";
/// Begins the heading of the features that devices of kernels have.
const FEATURES_OF: &str = "features of ";
/// Begins the line with the form of a behaviour, in a section.
const FORM_LINE: &str = "  form: ";
/// By how much the lines of a section are indented.
const INDENT: &str = "  ";

/// A file that is no snapshot of a topology.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// Its metadata are missing.
    #[error("it has no header; `lab accept` writes snapshots")]
    NoHeader,
    /// A line before the first section.
    #[error("line {0}: expected `behaviour of KERNELS` or `features of KERNELS`")]
    NoSection(usize),
    /// A behaviour that a later lab wrote.
    #[error(
        "line {line}: a behaviour of form {form}, and this lab knows forms up to {FORM}: take a newer lab, or write the file again \
         with `lab accept`"
    )]
    Newer {
        /// Where it says so.
        line: usize,
        /// Its form.
        form: u64,
    },
    /// Two sections of one sort have the same kernel.
    #[error("line {line}: {kernel} has a section before this one")]
    Twice {
        /// Where the second one begins.
        line: usize,
        /// The kernel.
        kernel: String,
    },
    /// A kernel's name that would be read as several, or as something else.
    #[error("{0:?} is no kernel's name: it has white space in it, or nothing")]
    Name(String),
    /// Features of a kernel that has no behaviour.
    #[error("{0} has features and no behaviour")]
    OnlyFeatures(String),
}

/// What was accepted for a topology, by kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    behaviours: BTreeMap<Kernel, Behaviour>,
    features: BTreeMap<Kernel, Behaviour>,
}

/// A kernel's name, in the order of versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kernel {
    version: Option<KernelVersion>,
    name: String,
}

impl Kernel {
    fn new(name: &str) -> Self {
        let version = name.split('/').next().and_then(|version| version.parse().ok());
        Self { version, name: name.to_owned() }
    }
}

impl Accepted {
    /// Reads the content of a file.
    ///
    /// # Errors
    /// [`SnapshotError`], with the line in the file.
    pub fn parse(content: &str) -> Result<Self, SnapshotError> {
        let mut lines = content.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line != FENCE) || !lines.any(|(_, line)| line == FENCE) {
            return Err(SnapshotError::NoHeader);
        }
        let mut accepted = Self::default();
        let newest: u64 = FORM.parse().expect("a number");
        // The section being read: its kernels, whether it is of features, its text.
        let mut section: Option<(Vec<Kernel>, bool, String)> = None;
        for (number, line) in lines {
            let number = number + 1;
            let heading = [(BEHAVIOUR, false), (FEATURES_OF, true)]
                .into_iter()
                .find_map(|(word, is_features)| Some((line.strip_prefix(word)?, is_features)));
            if let Some((kernels, is_features)) = heading {
                accepted.put(section.take());
                let kernels: Vec<Kernel> = kernels.split(' ').map(Kernel::new).collect();
                let known = if is_features { &accepted.features } else { &accepted.behaviours };
                if let Some(twice) = kernels.iter().find(|kernel| known.contains_key(kernel)) {
                    return Err(SnapshotError::Twice { line: number, kernel: twice.name.clone() });
                }
                section = Some((kernels, is_features, String::new()));
            } else if let Some((_, _, text)) = &mut section {
                match line.strip_prefix(FORM_LINE).and_then(|form| form.parse().ok()) {
                    Some(form) if form > newest => return Err(SnapshotError::Newer { line: number, form }),
                    _ => {}
                }
                text.push_str(line.strip_prefix(INDENT).unwrap_or(line));
                text.push('\n');
            } else if !line.is_empty() {
                return Err(SnapshotError::NoSection(number));
            }
        }
        accepted.put(section);
        match accepted.features.keys().find(|kernel| !accepted.behaviours.contains_key(kernel)) {
            Some(kernel) => Err(SnapshotError::OnlyFeatures(kernel.name.clone())),
            None => Ok(accepted),
        }
    }

    fn put(&mut self, section: Option<(Vec<Kernel>, bool, String)>) {
        let Some((kernels, is_features, text)) = section else { return };
        let all = if is_features { &mut self.features } else { &mut self.behaviours };
        let behaviour = Behaviour::parse(&dedented(&text, is_features));
        all.extend(kernels.into_iter().map(|kernel| (kernel, behaviour.clone())));
    }

    /// The kernels, in the order of versions.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.behaviours.keys().map(|kernel| kernel.name.as_str())
    }

    /// What was accepted for a kernel, as `snapshot::behaviour` makes it of a result.
    pub fn behaviour(&self, kernel: &str) -> Option<Behaviour> {
        let kernel = Kernel::new(kernel);
        let behaviour = self.behaviours.get(&kernel)?.clone();
        Some(behaviour.with_features(self.features.get(&kernel)))
    }

    /// Replaces what was accepted for a kernel.
    ///
    /// # Errors
    /// [`SnapshotError::Name`].
    pub fn set(&mut self, kernel: &str, behaviour: Behaviour) -> Result<(), SnapshotError> {
        if kernel.is_empty() || kernel.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(SnapshotError::Name(kernel.to_owned()));
        }
        let kernel = Kernel::new(kernel);
        let (behaviour, features) = behaviour.split_features();
        match features {
            Some(features) => self.features.insert(kernel.clone(), features),
            None => self.features.remove(&kernel),
        };
        self.behaviours.insert(kernel, behaviour);
        Ok(())
    }

    /// Below the metadata: each behaviour once, in the order of its first kernel, then the features.
    pub fn body(&self) -> String {
        let mut out = String::new();
        let (behaviours, features) = ((BEHAVIOUR, 1, &self.behaviours), (FEATURES_OF, 2, &self.features));
        for (word, depth, of) in [behaviours, features] {
            for (kernels, behaviour) in grouped(of) {
                let _ = writeln!(out, "{word}{}", kernels.join(" "));
                for line in behaviour.to_string().lines() {
                    let indent = if line.is_empty() { String::new() } else { INDENT.repeat(depth) };
                    let _ = writeln!(out, "{indent}{line}");
                }
                out.push('\n');
            }
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// The content of a file. `source` and `expression` say where the topology is and how to run it again.
    pub fn to_file(&self, source: &str, expression: &str) -> String {
        format!("{FENCE}\nsource: {source}\nexpression: {expression:?}\n{FENCE}\n{}\n", self.body())
    }
}

/// The lines of a section as those of a text: features are below their heading there.
fn dedented(text: &str, is_features: bool) -> String {
    let line = |line: &str| match is_features {
        true => line.strip_prefix(INDENT).unwrap_or(line).to_owned(),
        false => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Kernels by what they say, in the order of the first of each.
fn grouped(all: &BTreeMap<Kernel, Behaviour>) -> Vec<(Vec<&str>, &Behaviour)> {
    let mut groups: Vec<(Vec<&str>, &Behaviour)> = Vec::new();
    for (kernel, behaviour) in all {
        match groups.iter_mut().find(|(_, known)| *known == behaviour) {
            Some((kernels, _)) => kernels.push(&kernel.name),
            None => groups.push((vec![&kernel.name], behaviour)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviour(delivered: u32, features: &str) -> Behaviour {
        let behaviour = format!("outcome: pass\n\ntrial main\n  flow f (udp): {delivered} delivered\n");
        let features =
            if features.is_empty() { String::new() } else { format!("\nfeatures\n  veth: {features}\n") };
        Behaviour::parse(&format!("{behaviour}{features}"))
    }

    #[test]
    fn a_behaviour_of_a_later_lab_is_refused_with_its_line() {
        let file = |form: &str| {
            format!(
                "---\nsource: t\n---\nbehaviour of 6.12.57\n  outcome: pass\n  form: {form}\n\n  trial main\n"
            )
        };
        assert!(Accepted::parse(&file("1")).is_ok(), "what an earlier lab wrote");
        assert!(Accepted::parse(&file(FORM)).is_ok());
        assert_eq!(Accepted::parse(&file("3")), Err(SnapshotError::Newer { line: 6, form: 3 }));
    }

    #[test]
    fn kernels_that_say_the_same_share_a_section_in_the_order_of_versions() {
        let mut accepted = Accepted::default();
        for (kernel, text) in [
            ("6.12.57", behaviour(9, "gro")),
            ("6.12.57/generic", behaviour(8, "")),
            ("5.10.262", behaviour(9, "gro")),
            ("6.1.192", behaviour(9, "gro, tso")),
            ("7.3-rc7", behaviour(1, "gro")),
        ] {
            accepted.set(kernel, text).unwrap();
        }
        let file = accepted.to_file("topologies/t.toml", "lab matrix topologies/t.toml");
        let headings: Vec<&str> = file.lines().filter(|line| line.contains(" of ")).collect();
        let expected = [
            "behaviour of 5.10.262 6.1.192 6.12.57",
            "behaviour of 6.12.57/generic",
            "behaviour of 7.3-rc7",
            "features of 5.10.262 6.12.57 7.3-rc7",
            "features of 6.1.192",
        ];
        assert_eq!(headings, expected);
        let read = Accepted::parse(&file).unwrap();
        assert_eq!(read, accepted);
        assert_eq!(read.behaviour("6.1.192"), Some(behaviour(9, "gro, tso")));
        assert_eq!(read.behaviour("6.12.57/generic"), Some(behaviour(8, "")));
        assert_eq!(read.behaviour("6.18"), None);
    }

    #[test]
    fn a_changed_kernel_leaves_its_section() {
        let mut accepted = Accepted::default();
        accepted.set("6.1.192", behaviour(9, "gro")).unwrap();
        accepted.set("6.12.57", behaviour(9, "gro")).unwrap();
        accepted.set("6.12.57", behaviour(3, "")).unwrap();
        assert_eq!(accepted.body().matches("behaviour of ").count(), 2);
        assert!(accepted.body().ends_with("features of 6.1.192\n    veth: gro"), "{}", accepted.body());
    }

    #[test]
    fn a_kernel_s_name_is_one_word() {
        for name in ["", "6.1 6.2", "6.1\n", "6.1\u{1b}[2J"] {
            let refused = Accepted::default().set(name, Behaviour::parse("outcome: pass"));
            assert_eq!(refused, Err(SnapshotError::Name(name.to_owned())));
        }
    }

    #[rstest::rstest]
    #[case("outcome: pass\n", SnapshotError::NoHeader)]
    #[case("---\nsource: x\n", SnapshotError::NoHeader)]
    #[case("---\nsource: x\n---\noutcome: pass\n", SnapshotError::NoSection(4))]
    #[case("---\n---\nbehaviour of 6.1 6.2\n  x\nbehaviour of 6.2\n  y\n",
        SnapshotError::Twice { line: 5, kernel: "6.2".into() })]
    #[case("---\n---\nfeatures of 6.1\n  x\n", SnapshotError::OnlyFeatures("6.1".into()))]
    fn what_is_no_snapshot_is_refused(#[case] content: &str, #[case] error: SnapshotError) {
        assert_eq!(Accepted::parse(content), Err(error));
    }
}
