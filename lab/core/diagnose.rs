//! From counters and states to causes: nothing runs. What a text shows of a machine is compared with what each cause of the
//! catalogue was measured to look like on the kernels nearest to the text's.

pub(crate) mod blanks;
pub(crate) mod commands;
pub(crate) mod feature;
pub(crate) mod fingerprint;
pub(crate) mod observed;
pub(crate) mod queues;
pub(crate) mod rank;
pub(crate) mod text;

pub(crate) mod trial;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::diagnose::blanks::Blanks;
use crate::diagnose::commands::NextCommand;
use crate::diagnose::feature::{Feature, Role};
use crate::diagnose::fingerprint::Cause;
use crate::diagnose::observed::{Devices, Shown};
use crate::diagnose::queues::Queue;
use crate::diagnose::rank::Ranked;
use crate::import::model::Model;
use crate::import::{ImportError, Known, Source, machine};
use crate::net::name::IfName;
use crate::net::version::{KernelVersion, Running};

/// A topology with what kernels did, as accepted.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'t> {
    /// Its name.
    pub name: &'t str,
    /// Its file's text.
    pub topology: &'t str,
    /// Its snapshot's text.
    pub snapshot: &'t str,
}

/// Causes with this part of the best one's share are not distinguished from it.
const LEADING: f64 = 0.5;
/// Causes with less than this part of the best one's share are not worth a command.
const LEFT: f64 = 0.02;
/// More causes than this that are not distinguished are no answer.
const LEADERS_MAX: usize = 3;

/// Leaders with less than this share together are no answer.
const ANSWER_MIN: f64 = 0.5;

/// The catalogue's measurements, ready to be compared with.
#[derive(Debug)]
pub struct Catalogue {
    causes: Vec<Cause>,
}

/// A cause with its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// The cause's name.
    pub cause: String,
    /// In plain words.
    pub about: String,
    /// Its part of all causes together, from 0 to 1; `None` where the evidence is not enough for any.
    pub share: Option<f64>,
    /// How well it fits, as a part of all causes together: only to be compared with that of another cause.
    #[serde(skip)]
    pub weight: f64,
    /// Kernels whose measurements were compared.
    pub kernels: Vec<String>,
    /// What the text shows that speaks against it.
    pub against: Vec<String>,
}

/// A piece of evidence, and how many causes it speaks against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deciding {
    /// As in `bond0.70 tx_dropped 222430 of 222441`.
    pub shown: String,
    /// Causes that were measured to look otherwise.
    pub against: usize,
}

/// What can be said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The text's kernel; without it measurements of all kernels were compared.
    pub kernel: Option<String>,
    /// The stack by which frames are lost.
    pub devices: Devices,
    /// What formats were recognised.
    pub found: Vec<String>,
    /// Whether the evidence singles out a few causes.
    pub is_enough: bool,
    /// Why not, and what is missing.
    pub missing: Vec<String>,
    /// All causes, the likeliest first.
    pub ranks: Vec<Place>,
    /// How many of them are not distinguished from the first.
    pub leaders: usize,
    /// What decided, the strongest first.
    pub deciding: Vec<Deciding>,
    /// What the text shows that speaks against no cause.
    pub undecided: Vec<String>,
    /// What would tell the rest apart.
    pub commands: Vec<NextCommand>,
    /// Causes that this machine or kernel cannot have, and why.
    pub impossible: Vec<(String, String)>,
}

impl Catalogue {
    /// Reads measurements. `studies` are topologies with explanations, whose trials are measurements of the causes with the same fault.
    pub fn new(causes: &[Measured<'_>], studies: &[Measured<'_>]) -> Self {
        Self { causes: fingerprint::catalogue(causes, studies) }
    }

    /// The causes, with the kernels they were measured on.
    pub fn causes(&self) -> impl Iterator<Item = (&str, Vec<KernelVersion>)> {
        let measured = |cause: &Cause| {
            let there = cause.kernels.iter().filter(|(_, features)| features.is_ok());
            there.map(|(version, _)| *version).collect()
        };
        self.causes.iter().map(move |cause| (cause.name.as_str(), measured(cause)))
    }

    /// Ranks the causes by what texts of one machine show.
    ///
    /// # Errors
    /// As [`crate::import::import`], when nothing in them shows a link.
    pub fn diagnose(&self, sources: &[Source], known: &Known<'_>) -> Result<Diagnosis, ImportError> {
        self.without(sources, known, None)
    }

    /// The same without one measurement, to see how well the others foretell it.
    ///
    /// # Errors
    /// As [`Self::diagnose`].
    pub fn without(
        &self,
        sources: &[Source],
        known: &Known<'_>,
        left_out: Option<(&str, KernelVersion)>,
    ) -> Result<Diagnosis, ImportError> {
        let (model, releases, found) = machine(sources, known)?;
        let kernel = releases.iter().find_map(|release| Running::of("", release));
        let version = kernel.map(|kernel| match kernel {
            Running::Version(version) => version,
            Running::Series(series) => series.first(),
        });
        let queues: BTreeMap<IfName, Queue> =
            sources.iter().flat_map(|source| queues::read(&source.text)).collect();
        let devices = observed::devices(&model);
        let shown = observed::features(&model, &queues, &devices);
        let mut ruled_out = Vec::new();
        let mut possible = Vec::new();
        for cause in &self.causes {
            match observed::impossible(&model, &devices, &cause.needs) {
                Some(why) => ruled_out.push((cause.name.clone(), why)),
                None => possible.push(cause),
            }
        }
        let seen = shown.iter().map(|(feature, shown)| (*feature, shown.value.clone())).collect();
        let (ranked, lacking) = rank::rank(&possible, version, &seen, left_out);
        ruled_out.extend(
            lacking.into_iter().map(|(name, why)| (name.to_owned(), format!("the kernel lacks {why}"))),
        );
        let kernel = version.map(|version| version.to_string());
        Ok(told(&model, kernel, devices, &shown, &ranked, found, ruled_out))
    }
}

fn told(
    model: &Model,
    kernel: Option<String>,
    devices: Devices,
    shown: &BTreeMap<Feature, Shown>,
    ranked: &[Ranked<'_>],
    found: Vec<String>,
    impossible: Vec<(String, String)>,
) -> Diagnosis {
    let best = ranked.first().map_or(0.0, |one| one.share);
    let leaders = ranked.iter().take_while(|one| one.share >= best * LEADING).count();
    let left = ranked.iter().take_while(|one| one.share >= best * LEFT).count();
    let seen = shown.iter().map(|(feature, shown)| (*feature, shown.value.clone())).collect();
    let words = |feature: &Feature| shown.get(feature).map(|shown| shown.words.clone()).unwrap_or_default();
    let deciding = rank::deciding(ranked, &seen);
    let decides = |feature: &Feature| deciding.iter().any(|(decided, _)| decided == feature);
    let undecided = shown.keys().filter(|feature| !decides(feature)).map(words).collect();
    let missing = missing(model, &devices, shown, ranked, leaders, kernel.is_none());
    let blanks = Blanks::new(model, &devices);
    let place = |one: &Ranked<'_>| Place {
        cause: one.cause.name.clone(),
        about: one.cause.about.clone(),
        share: missing.is_empty().then_some(one.share),
        weight: one.share,
        kernels: one.kernels.iter().map(ToString::to_string).collect(),
        against: one.against.iter().map(words).collect(),
    };
    Diagnosis {
        is_enough: missing.is_empty(),
        ranks: ranked.iter().map(place).collect(),
        commands: commands::next(&ranked[..left], |feature| shown.contains_key(&feature), &devices, &blanks),
        deciding: deciding
            .iter()
            .map(|(feature, against)| Deciding { shown: words(feature), against: *against })
            .collect(),
        kernel,
        devices,
        found,
        missing,
        leaders,
        undecided,
        impossible,
    }
}

/// What is missing for an answer; nothing if there is one.
fn missing(
    model: &Model,
    devices: &Devices,
    shown: &BTreeMap<Feature, Shown>,
    ranked: &[Ranked<'_>],
    leaders: usize,
    is_kernel_unknown: bool,
) -> Vec<String> {
    let mut missing = Vec::new();
    let Some(first) = ranked.first() else {
        return vec!["no cause of the catalogue is one that this machine can have".to_owned()];
    };
    if !shown.iter().any(|(feature, shown)| feature.shows_loss(&shown.value)) {
        missing.push(
            "nothing in the text shows that frames are lost: no counter, no errno, no link that is down"
                .to_owned(),
        );
    }
    let strong =
        |feature: &&Feature| !matches!(feature, Feature::Counter(_, name) if name.starts_with("rx_"));
    if let Some(feature) = first.against.iter().find(strong) {
        let words = shown.get(feature).map(|shown| shown.words.as_str()).unwrap_or_default();
        missing.push(format!(
            "no cause was measured to look like this: the nearest, {}, disagrees in: {words}",
            first.cause.name
        ));
    }
    if leaders > LEADERS_MAX {
        missing.push(format!("{leaders} causes look the same in all that the text shows"));
    }
    let together: f64 = ranked[..leaders].iter().map(|one| one.share).sum();
    if missing.is_empty() && together < ANSWER_MIN {
        let words = if leaders == 1 { "the first fits" } else { "the first fit" };
        missing.push(format!("{words} little better than others: the text shows too little"));
    }
    if missing.is_empty() {
        return missing;
    }
    for role in Role::ALL {
        let names = devices.named(role);
        if !shown.contains_key(&Feature::Counter(role, "tx_dropped")) {
            missing.push(format!("counters of {names} (ip -s link)"));
        }
        if !shown.contains_key(&Feature::State(role)) && !devices.of(role).is_empty() {
            missing.push(format!("the state of {names} (ip -d link)"));
        }
        if !shown.contains_key(&Feature::Queue(role, "drops")) && !devices.of(role).is_empty() {
            missing.push(format!("the queue of {names} (tc -s qdisc)"));
        }
    }
    if !shown.contains_key(&Feature::Told) {
        missing.push("what the sender is told (ping, as far as an errno)".to_owned());
    }
    if is_kernel_unknown {
        missing.push("the kernel (uname -a)".to_owned());
    }
    let bond = devices.bond.as_ref().and_then(|bond| bond.parse::<IfName>().ok());
    if bond.and_then(|bond| model.links.get(&bond)).is_some_and(|bond| !bond.is_configuration) {
        missing.push("the bond's options (ip -d link, or /proc/net/bonding)".to_owned());
    }
    missing
}
