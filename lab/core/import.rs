//! From a pasted report to a topology: formats recognised wherever they stand in a text, merged into one machine, with a made-up
//! other end, and with what was seen as evidence.

pub(crate) mod answers;
pub(crate) mod bridge;
pub(crate) mod bridge_options;
pub(crate) mod cables;
pub(crate) mod causes;
pub(crate) mod choices;
pub(crate) mod cloud_init;
pub(crate) mod commands;
pub(crate) mod dmesg;
pub(crate) mod documents;
pub(crate) mod draft;
pub(crate) mod ethtool;
pub(crate) mod evidence;
pub(crate) mod far_end;
pub(crate) mod flows;
pub(crate) mod ifcfg;
pub(crate) mod ifupdown;
pub(crate) mod ini;
pub(crate) mod ip_brief;
pub(crate) mod ip_json;
pub(crate) mod ip_rule;
pub(crate) mod ip_text;
pub(crate) mod kernel;
pub(crate) mod keyfile;
pub(crate) mod link_options;
pub(crate) mod model;
pub(crate) mod nad;
pub(crate) mod near_end;
pub(crate) mod netplan;
pub(crate) mod networkd;
pub(crate) mod nft;
pub(crate) mod nmstate;
pub(crate) mod options;
pub(crate) mod pings;
pub(crate) mod pods;
pub(crate) mod proc_bonding;
pub(crate) mod proc_dev;
pub(crate) mod proc_vlan;
pub(crate) mod prose;
pub mod readers;
pub(crate) mod routes;
pub(crate) mod routing;
pub(crate) mod settle;
pub(crate) mod symptoms;
pub(crate) mod talos;
pub(crate) mod tc;
pub(crate) mod tc_json;
pub(crate) mod text;
pub mod tree;
pub(crate) mod tried;
pub(crate) mod value;
pub(crate) mod virtual_links;
pub(crate) mod vlan_flags;
pub(crate) mod wrapped;

use crate::import::draft::Draft;
use crate::import::far_end::FarEnd;
use crate::import::model::{Model, Place};
use crate::net::clean;
use crate::net::name::IfName;
use crate::net::version::KernelVersion;
use crate::topology::lint::Finding;
use crate::topology::source::Source as TopologySource;
use crate::topology::{Topology, TopologyErrors};

pub use crate::import::causes::Cause;
pub use crate::import::text::SOURCE_BYTES_MAX;

/// As many sources as one import takes.
pub const SOURCES_MAX: usize = 500;

/// A text to import.
#[derive(Debug, Clone)]
pub struct Source {
    /// A file's name, or `standard input`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What the lab has that an import refers to.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Versions of the pinned kernels.
    pub kernels: &'a [KernelVersion],
    /// The catalogue.
    pub causes: &'a [Cause<'a>],
}

/// A topology that was made of a text.
#[derive(Debug, Clone)]
pub struct Imported {
    /// A file that `lab run` takes: it has been checked.
    pub toml: String,
    /// What was recognised, and where.
    pub found: Vec<String>,
    /// What was not carried over, or was made up, and why.
    pub notes: Vec<String>,
    /// What lint finds in the text and in the topology; places are of the topology.
    pub lint: Vec<Finding>,
}

/// Why there is no topology.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No format was recognised, or none that shows a link.
    #[error("nothing in {sources} shows a network device{found}\nhint: {HINT}")]
    NothingThere {
        /// Names of the sources.
        sources: String,
        /// What was recognised all the same, and what was left out.
        found: String,
    },
    /// A source is too large.
    #[error("{name} has {bytes} bytes; {} are the limit", text::SOURCE_BYTES_MAX)]
    TooLarge {
        /// The source.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// There are too many.
    #[error("{0} files; {SOURCES_MAX} are the limit")]
    TooMany(usize),
    /// What was made of it is no valid topology: a fault of the lab, or a stack that topologies cannot have.
    #[error("what is in the text makes no valid topology:\n{}", .0.lines())]
    Invalid(Box<TopologyErrors>),
}

/// What messages of the checker call it.
const PATH: &str = "the imported topology";

/// How often links are left out that the checker refuses.
const ROUNDS_MAX: usize = 16;

const HINT: &str = "paste the output of `ip -s -d link`, `ip address` or `cat /proc/net/bonding/*`, or a configuration of Talos, \
    netplan, nmstate or NetworkAttachmentDefinitions";

/// Makes a topology of texts of one machine.
///
/// # Errors
/// When nothing in them shows a link, when they are too large, and when what is in them makes no valid topology.
pub fn import(name: &str, sources: &[Source], known: &Known<'_>) -> Result<Imported, ImportError> {
    let (mut model, choice, found) = read_all(sources, known)?;
    match checked(name, &mut model, &choice, &found, known) {
        Ok((toml, mut lint)) => {
            lint.extend(std::mem::take(&mut model.lint));
            lint.sort_by_key(|finding| (finding.rule.name, finding.message.clone()));
            lint.dedup_by_key(|finding| (finding.rule.name, finding.message.clone()));
            Ok(Imported { toml, found, notes: all_notes(&model), lint })
        }
        Err(_) if model.links.is_empty() => Err(nothing_there(sources, &found, &model)),
        Err(errors) => Err(ImportError::Invalid(Box::new(errors))),
    }
}

/// What texts of one machine show, with the kernel releases they name, in order, and what was recognised.
///
/// # Errors
/// As [`import`], but for topologies that are not valid: none is made.
pub(crate) fn machine(
    sources: &[Source],
    known: &Known<'_>,
) -> Result<(Model, Vec<String>, Vec<String>), ImportError> {
    let (model, choice, found) = read_all(sources, known)?;
    let named = sources.iter().flat_map(|source| kernel::mentioned(&text::lines(&source.text)));
    let releases = named.chain(choice.map(|choice| choice.id)).collect();
    Ok((model, releases, found))
}

/// All sources as one model, with kinds decided.
fn read_all(
    sources: &[Source],
    known: &Known<'_>,
) -> Result<(Model, Option<kernel::Choice>, Vec<String>), ImportError> {
    if sources.len() > SOURCES_MAX {
        return Err(ImportError::TooMany(sources.len()));
    }
    let mut model = Model::default();
    let (mut found, mut choice) = (Vec::new(), None::<kernel::Choice>);
    for source in sources {
        let text = text::prepared(&source.text)
            .map_err(|bytes| ImportError::TooLarge { name: clean::line(&source.name).into_owned(), bytes })?;
        // A distribution's release says less than a kernel's, whichever comes first.
        let named = readers::read(&source.name, &text, known, &mut model);
        choice = match (named, choice) {
            (Some(named), Some(known)) if known.is_release && !named.is_release => Some(known),
            (named, known) => named.or(known),
        };
        for (format, line) in std::mem::take(&mut model.found) {
            let place = if line > 0 { format!(", line {line}") } else { String::new() };
            found.push(format!("{format} ({}{place})", clean::line(&source.name)));
        }
    }
    model.note_left();
    pods::settle(&mut model);
    settle::settle(&mut model);
    if model.links.is_empty() {
        return Err(nothing_there(sources, &found, &model));
    }
    Ok((model, choice, found))
}

/// Writes the topology until the checker takes it: a link that it refuses is left out, and its words are the reason.
fn checked(
    name: &str,
    model: &mut Model,
    choice: &Option<kernel::Choice>,
    found: &[String],
    known: &Known<'_>,
) -> Result<(String, Vec<Finding>), TopologyErrors> {
    let mut rounds = 0;
    loop {
        let toml = write(model, choice.clone(), found, known);
        let errors = match Topology::parse_and_lint(name, &TopologySource::of(PATH, &toml)) {
            // Of the other end, which is made up, there is nothing to say.
            Ok((_, lint)) => {
                let is_own = |finding: &Finding| {
                    !["switch:", "gateway:"].iter().any(|ns| finding.message.starts_with(ns))
                };
                return Ok((toml, lint.into_iter().filter(is_own).collect()));
            }
            Err(errors) => errors,
        };
        rounds += 1;
        if rounds > ROUNDS_MAX || !without(model, &toml, &errors) {
            return Err(errors);
        }
        if model.links.is_empty() {
            return Err(errors);
        }
    }
}

/// Takes the links and pods out that the checker refuses; whether there were any.
fn without(model: &mut Model, toml: &str, errors: &TopologyErrors) -> bool {
    let before = model.links.len();
    for problem in &errors.problems {
        if let Some(name) = link_at(toml, problem.span.start)
            && let Ok(name) = name.parse::<IfName>()
            && model.links.shift_remove(&name).is_some()
        {
            model.note(format!("{name}: {}", problem.message));
        }
    }
    let has_fewer = model.links.len() < before;
    if !has_fewer && !model.pods.is_empty() {
        // Plugins take more than the lab's have: the machine is worth a topology without its pods.
        let why = errors.problems.first().map_or(String::new(), |problem| problem.message.clone());
        model.note(format!("pods are not attached: {why}"));
        model.pods.clear();
        model
            .links
            .retain(|_, link| link.function_of.is_none() && !(link.is_pooled && link.place == Place::Pod));
        return true;
    }
    if has_fewer {
        settle::settle(model);
    }
    has_fewer
}

/// The link of the machine whose table is at this place of the file.
fn link_at(toml: &str, at: usize) -> Option<String> {
    let before = toml.get(..at)?;
    let from = if before.is_empty() || before.ends_with('\n') {
        at
    } else {
        before.rfind('\n').map_or(0, |end| end + 1)
    };
    let line = toml.get(from..)?.lines().next().filter(|line| line.starts_with('['));
    let header = line.or_else(|| before.lines().rfind(|line| line.starts_with('[')))?;
    let table = header.parse::<toml::Table>().ok()?;
    let of = |value: &toml::Value, key: &str| value.get(key).cloned();
    let ns = table.get("ns")?;
    let kinds = of(ns, "node").or_else(|| of(ns, "pod"))?;
    let (_, links) = kinds.as_table()?.iter().next()?;
    links.as_table()?.keys().next().cloned()
}

fn nothing_there(sources: &[Source], found: &[String], model: &Model) -> ImportError {
    let names: Vec<_> = sources.iter().take(5).map(|source| clean::line(&source.name)).collect();
    let mut rest = String::new();
    for line in found.iter().map(|found| format!("recognised: {found}")).chain(all_notes(model)) {
        rest += &format!("\n  {line}");
    }
    ImportError::NothingThere { sources: names.join(", "), found: rest }
}

fn all_notes(model: &Model) -> Vec<String> {
    let more = (model.notes_more > 0).then(|| format!("{} more notes are left out", model.notes_more));
    model.notes.iter().cloned().chain(more).collect()
}

/// The topology's text.
fn write(model: &mut Model, choice: Option<kernel::Choice>, found: &[String], known: &Known<'_>) -> String {
    let mut draft = Draft::default();
    let focus = evidence::focus(model);
    if focus.is_none() {
        answers::settle(model);
    }
    let far = FarEnd::new(model, focus.as_ref().and_then(evidence::Focus::without_partner));
    pods::write_networks(model, &mut draft);
    near_end::write(model, &far, &mut draft);
    far.write(model, &mut draft);
    let has_report = focus.as_ref().is_some_and(|focus| evidence::write(model, &far, focus, &mut draft));
    if let Some(focus) = focus.as_ref().filter(|_| has_report) {
        causes::write(model, &far, focus, known.causes, &mut draft);
        let has_choices = choices::write(model, &far, focus, &mut draft);
        draft.about = symptoms::about(focus, has_choices);
    } else {
        flows::write(model, &far, &mut draft);
        pods::write_steps(model, &far, &mut draft);
        draft.about =
            "Imported: the links of the text, with a made-up other end. What each sends has to arrive."
                .into();
    }
    head(model, choice, found, &mut draft);
    draft.text()
}

fn head(model: &Model, choice: Option<kernel::Choice>, found: &[String], draft: &mut Draft) {
    draft.head.push("Made by `lab import`. Recognised:".into());
    draft.head.extend(found.iter().map(|one| format!("  {one}")));
    let (id, why) = match choice {
        Some(choice) => (Some(choice.id), choice.why),
        None => (None, "the text names no kernel; `lab run` takes its default, or --kernel".into()),
    };
    draft.kernel = id;
    draft.head.push(format!("Kernel: {why}."));
    draft.head.push("Not carried over, or made up:".into());
    draft.head.push(
        "  switch and gateway, which no report shows; hardware, drivers and their offloads: cables play NICs"
            .into(),
    );
    draft.head.extend(all_notes(model).into_iter().map(|note| format!("  {note}")));
}
