//! How well each cause explains what is seen: Bayes' rule over measured features, each cause as likely as any other at first.

use std::collections::BTreeMap;

use crate::diagnose::feature::{Feature, Value};
use crate::diagnose::fingerprint::{Cause, Features};
use crate::net::version::KernelVersion;

/// Below this share of the best a value of a feature speaks against a cause.
const AGAINST: f64 = 0.3;

/// A cause with its place.
#[derive(Debug, Clone)]
pub struct Ranked<'c> {
    /// Which.
    pub cause: &'c Cause,
    /// Kernels whose measurements were compared.
    pub kernels: Vec<KernelVersion>,
    /// Its part of all causes together.
    pub share: f64,
    /// Features that speak against it.
    pub against: Vec<Feature>,
    measured: Vec<Features>,
}

impl Ranked<'_> {
    /// What was measured on the nearest kernel, if that has it.
    pub fn value(&self, feature: Feature) -> Option<&Value> {
        self.measured.iter().find_map(|features| features.get(&feature))
    }

    fn likelihood(&self, feature: Feature, seen: &Value) -> Option<f64> {
        let known: Vec<f64> = self
            .measured
            .iter()
            .filter_map(|features| Some(feature.likelihood(features.get(&feature)?, seen)))
            .collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

/// Measurements with the kernels they are of.
type Measurements = Vec<(KernelVersion, Features)>;

/// The measurements of a cause that are about a kernel: those of the nearest one on each side, or all where none is named. What was
/// not recorded on the nearest one is taken from the next on that side.
/// `Err` is what the kernel lacks for the cause.
fn measurements(
    cause: &Cause,
    kernel: Option<KernelVersion>,
    left_out: Option<KernelVersion>,
) -> Result<Measurements, String> {
    let there: Vec<_> = cause.kernels.iter().filter(|(version, _)| Some(**version) != left_out).collect();
    let Some(kernel) = kernel else {
        let all = there.into_iter();
        return Ok(all
            .filter_map(|(version, features)| Some((*version, features.as_ref().ok()?.clone())))
            .collect());
    };
    let older = there.iter().rev().filter(|(version, _)| **version <= kernel).copied().collect();
    let newer = there.iter().filter(|(version, _)| **version >= kernel).copied().collect();
    let sides: [Vec<(&KernelVersion, &Result<Features, String>)>; 2] = [older, newer];
    let mut found: Measurements = Vec::new();
    let mut lacks = None;
    for side in sides {
        match side.first() {
            Some((version, Ok(_))) if !found.iter().any(|(known, _)| known == *version) => {
                let mut features = Features::new();
                for measured in side.iter().filter_map(|(_, measured)| measured.as_ref().ok()) {
                    measured.iter().for_each(|(feature, value)| {
                        features.entry(*feature).or_insert_with(|| value.clone());
                    });
                }
                found.push((**version, features));
            }
            Some((_, Err(why))) => lacks = Some(why.clone()),
            _ => {}
        }
    }
    match lacks {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(found),
    }
}

/// Ranks causes, the likeliest first. Causes that the kernel cannot have are the second list, with what it lacks.
///
/// `left_out` is a cause's measurement that is not used, to see how well others foretell it.
pub fn rank<'c>(
    causes: &[&'c Cause],
    kernel: Option<KernelVersion>,
    seen: &BTreeMap<Feature, Value>,
    left_out: Option<(&str, KernelVersion)>,
) -> (Vec<Ranked<'c>>, Vec<(&'c str, String)>) {
    let (mut ranked, mut lacking) = (Vec::new(), Vec::new());
    for cause in causes {
        let without = left_out.filter(|(name, _)| *name == cause.name).map(|(_, version)| version);
        match measurements(cause, kernel, without) {
            Ok(found) if found.is_empty() => {}
            Ok(found) => ranked.push(Ranked {
                cause,
                kernels: found.iter().map(|(version, _)| *version).collect(),
                share: 1.0,
                against: Vec::new(),
                measured: found.into_iter().map(|(_, features)| features).collect(),
            }),
            Err(why) => lacking.push((cause.name.as_str(), why)),
        }
    }
    for (feature, value) in seen {
        let all: Vec<Option<f64>> = ranked.iter().map(|one| one.likelihood(*feature, value)).collect();
        let known: Vec<f64> = all.iter().flatten().copied().collect();
        if known.is_empty() {
            continue;
        }
        // What was not measured of a cause speaks neither for it nor against it.
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let best = known.iter().copied().fold(0.0, f64::max);
        for (one, measured) in ranked.iter_mut().zip(all) {
            one.share *= measured.unwrap_or(mean) / best;
            if measured.is_some_and(|likelihood| likelihood < AGAINST * best) {
                one.against.push(*feature);
            }
        }
    }
    let sum: f64 = ranked.iter().map(|one| one.share).sum();
    ranked.iter_mut().for_each(|one| one.share /= sum.max(f64::MIN_POSITIVE));
    ranked.sort_by(|one, other| {
        other.share.total_cmp(&one.share).then_with(|| one.cause.name.cmp(&other.cause.name))
    });
    (ranked, lacking)
}

/// Of how many causes each feature takes the place away, the most first.
pub fn deciding(ranked: &[Ranked<'_>], seen: &BTreeMap<Feature, Value>) -> Vec<(Feature, usize)> {
    let count = |feature: &Feature| ranked.iter().filter(|one| one.against.contains(feature)).count();
    let mut all: Vec<(Feature, usize)> =
        seen.keys().map(|feature| (*feature, count(feature))).filter(|(_, count)| *count > 0).collect();
    all.sort_by_key(|(feature, count)| (std::cmp::Reverse(*count), *feature));
    all
}
