//! The machine-readable result: a contract. Fields may be added, never renamed.

mod account;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::judge::account::{Account, PodAccount, TrialAccount};
use crate::judge::outcome::Outcome;
use crate::judge::verdict::{Verdict, title};
// What the judge says of these is the document's as it is.
pub use crate::judge::account::{Fate as FateDocument, QdiscAccount as QdiscDocument};
pub use crate::judge::effects::Attempt as AttemptDocument;
pub use crate::judge::hypotheses::{
    Evidence as EvidenceDocument, Explanation as HypothesisDocument, TriedFix as MitigationDocument,
};
pub use crate::judge::mutation::Proof as ProofDocument;
pub use crate::judge::next_checks::NextCheck as NextCheckDocument;
pub use crate::judge::verdict::Check as CheckDocument;
use crate::net::kernel_log::KernelLog;
use crate::net::link_state::LinkReport;
use crate::net::name::DeviceRef;
use crate::net::switch_port::Substitute;
use crate::plan::{Role, RunOptions};
use crate::report::document::account::{flow_document, kernel_frames, moved_document, replaced_document};
use crate::report::drawing::Structure;
use crate::report::rounds::Repetitions;
use crate::topology::cni::{Attached, Attachment, Network};
use crate::topology::scenario::{CountsAt, Socket, Step};
use crate::topology::{Topology, substitute};

/// Device counters that are shown even when they did not move: a zero here is half of an answer.
const ALWAYS_SHOWN: [&str; 4] = ["rx_packets", "tx_packets", "rx_dropped", "tx_dropped"];

/// The result of one topology on one kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The topology's name.
    pub topology: String,
    /// What it shows, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What it ran on.
    pub kernel: KernelDocument,
    /// The verdict.
    pub outcome: Outcome,
    /// What ended the run early, with what to do next; absent for a run that came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its namespaces and links as they were run; absent in results of versions that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structure: Option<Structure>,
    /// What stood in for emulated NICs, each with the device it is in the place of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(rename = "stand_ins")]
    pub substitutions: Vec<String>,
    /// Whether they are there for want of NICs that the topology asks for: then it is compared with no snapshot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(rename = "fell_back")]
    pub used_fallback: bool,
    /// What a switch among them does that an emulated igb does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(rename = "stand_in_differences")]
    pub substitution_differences: Vec<String>,
    /// Who attached pods to networks, in the order of the steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentDocument>,
    /// Everything that had to hold.
    pub checks: Vec<CheckDocument>,
    /// Flows of the main trial, or of the control where there are no steps.
    pub flows: Vec<FlowDocument>,
    /// Device counters of the same trial that moved, and packets and drops in any case.
    pub devices: IndexMap<String, BTreeMap<String, u64>>,
    /// Root queueing disciplines of the same trial.
    pub qdiscs: IndexMap<String, QdiscDocument>,
    /// clsact hooks of the same trial.
    pub hooks: IndexMap<String, QdiscDocument>,
    /// States that the topology asks for, after the last step of the main trial; what is true or false is 1 or 0.
    pub states: IndexMap<String, u64>,
    /// How the rounds compare; only with `--repeat`. All else is of the first round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetitions: Option<Repetitions>,
    /// Whether each expectation, wait and piece of evidence can fail; only with `--prove`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<ProofDocument>,
    /// Explanations tried; the control is not one of them.
    pub hypotheses: Vec<HypothesisDocument>,
    /// Commands that tell the explanations that fit from each other, or the only one from the next best.
    #[serde(default)]
    #[serde(rename = "separators")]
    pub next_checks: Vec<NextCheckDocument>,
    /// What was tried against the report, under each cause of the run.
    #[serde(default)]
    pub mitigations: Vec<MitigationDocument>,
    /// All trials, the control included.
    pub trials: Vec<TrialDocument>,
    /// Wall-clock times. They are in no snapshot.
    pub timing_ms: Timing,
}

/// What a run ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelDocument {
    /// Its id in kernels.toml, or `host`.
    pub id: String,
    /// `uname -r`.
    pub release: String,
    /// `vm` or `host`.
    pub backend: String,
    /// `tcg`, `kvm`, or `none` on this kernel.
    pub accelerator: String,
    /// What times inside the guest are of: `real`, or `virtual`, the instructions it has executed.
    #[serde(default = "real")]
    pub clock: String,
}

fn real() -> String {
    "real".into()
}

/// Who attached a pod to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentDocument {
    pub pod: String,
    /// As the annotation knows it.
    pub network: String,
    pub interface: String,
    /// `type` of its configuration.
    pub plugin: String,
    /// `the lab's own implementation`, or each program by its path and SHA-256.
    pub by: String,
}

/// One flow's account. The judge's has sets of frames, of which a document has the sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowDocument {
    pub name: String,
    pub from: String,
    pub to: String,
    pub socket: Socket,
    /// Where its frames count as delivered; absent in results of versions that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_at: Option<CountsAt>,
    pub asked: u32,
    pub sent: u32,
    pub errors: BTreeMap<String, u32>,
    pub delivered: u32,
    pub duplicated: u32,
    pub unattributed: u32,
    pub fates: Vec<FateDocument>,
    /// From one frame to the next, where the flow has an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_us: Option<u32>,
    /// The longest time without one of its frames at the receiver, where it has an interval. It is in no snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_ms: Option<u64>,
    /// The addresses that its frames came from, as the receiver saw them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen_from: Vec<IpAddr>,
    /// Frames that arrived behind one of a higher number. It is in no snapshot.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reordered: u32,
    /// Of TCP: segments that were sent again. It is in no snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retransmitted: Option<u32>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A root queueing discipline that was replaced or removed in the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedDocument {
    /// The device.
    pub device: String,
    /// `TCA_KIND`.
    pub kind: String,
    /// By name: what it had counted by then.
    pub counters: BTreeMap<String, u64>,
}

/// One trial. The judge's has its role and typed conditions; a document has its title, and counters that moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialDocument {
    /// `main`, `control`, the hypothesis, or `HYPOTHESIS under MITIGATION`.
    pub name: String,
    /// What the kernel refused, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Its flows.
    pub flows: Vec<FlowDocument>,
    /// Device counters that moved.
    pub devices: IndexMap<String, BTreeMap<String, u64>>,
    /// Root queueing disciplines.
    pub qdiscs: IndexMap<String, QdiscDocument>,
    /// Root queueing disciplines that were replaced or removed in the run, in the order of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced_qdiscs: Vec<ReplacedDocument>,
    /// clsact hooks.
    pub hooks: IndexMap<String, QdiscDocument>,
    /// Frames that captures counted, by name.
    #[serde(default)]
    pub captured: BTreeMap<String, u64>,
    /// Captures of frames that a kernel sends by timers: their counts differ a little from run to run.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub captured_by_timer: BTreeSet<String>,
    /// All links at the end, once they had settled.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub links: IndexMap<String, LinkReport>,
    /// What the kernel logged from level warning up; absent where it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_log: Option<KernelLog>,
    /// What the kernel said of requests that it carried out, with the number of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub acknowledged: BTreeMap<String, u32>,
    /// Frames lost that are not the lab's.
    pub foreign_drops: u32,
    /// The same, by what they are and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_frames: Vec<KernelFramesDocument>,
    /// Counters that those moved. `devices`, `qdiscs` and `hooks` have what the kernel counted, this included; snapshots
    /// and checks are of the lab's own frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_moved: Vec<MovedDocument>,
    /// Why the drop tracepoint was not read, if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unobserved: Option<String>,
}

/// A counter that frames which the kernel sent of its own have moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedDocument {
    /// The device.
    pub device: String,
    /// `device`, or `qdisc` or `clsact` for those of the device.
    pub of: String,
    /// By name.
    pub counter: String,
    /// By how much; `null` where it is not known how much of it the lab's frames have moved.
    pub by: Option<u64>,
}

/// Frames that the kernel sent of its own, lost at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFramesDocument {
    /// `arp`, `gratuitous-arp`, `lacpdu`, `unsolicited-na`, or `other`.
    pub what: String,
    /// The VLAN of their outermost tag, wherever the tag was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// As of a flow's frames; `null` where the lab does not know the place.
    pub layer: Option<String>,
    /// The device they were on, if it is one of the topology's.
    pub device: Option<String>,
    /// The kernel's reason, or the function that freed them.
    pub reason: String,
    /// How many.
    pub frames: u32,
}

/// Wall-clock times in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Until the agent waited for work.
    pub start: u64,
    /// Until the first topology stood.
    pub build: u64,
    /// From there to the last record.
    pub run: u64,
    /// From the command's start to the verdict.
    pub total: u64,
}

impl Document {
    /// A run that came to its end.
    pub fn finished(
        topology: &str,
        kernel: KernelDocument,
        account: &Account,
        verdict: &Verdict,
        timing: Timing,
    ) -> Self {
        // Mutant trials prove something about the expectations, and say nothing about the kernel.
        let told = account.trials.iter().filter(|trial| !matches!(trial.role, Role::Mutant(_)));
        let trials: Vec<TrialDocument> = told.map(trial_document).collect();
        let first = trials.first().cloned();
        let (flows, devices, qdiscs, hooks) =
            first.map(|trial| (trial.flows, trial.devices, trial.qdiscs, trial.hooks)).unwrap_or_default();
        Self {
            topology: topology.into(),
            about: None,
            kernel,
            outcome: verdict.outcome,
            reason: None,
            structure: None,
            substitutions: Vec::new(),
            used_fallback: false,
            substitution_differences: Vec::new(),
            attachments: Vec::new(),
            checks: verdict.checks.clone(),
            flows,
            devices,
            qdiscs,
            hooks,
            states: verdict.states.iter().map(|(subject, value)| (subject.to_string(), *value)).collect(),
            repetitions: None,
            proofs: verdict.proofs.clone(),
            hypotheses: verdict.explanations.clone(),
            next_checks: verdict.next_checks.clone(),
            mitigations: verdict.fixes.clone(),
            trials,
            timing_ms: timing,
        }
    }

    /// A run that did not.
    pub fn unfinished(
        topology: &str,
        kernel: KernelDocument,
        outcome: Outcome,
        reason: String,
        timing: Timing,
    ) -> Self {
        Self {
            topology: topology.into(),
            about: None,
            kernel,
            outcome,
            reason: Some(reason),
            structure: None,
            substitutions: Vec::new(),
            used_fallback: false,
            substitution_differences: Vec::new(),
            attachments: Vec::new(),
            checks: Vec::new(),
            flows: Vec::new(),
            devices: IndexMap::new(),
            qdiscs: IndexMap::new(),
            hooks: IndexMap::new(),
            states: IndexMap::new(),
            repetitions: None,
            proofs: Vec::new(),
            hypotheses: Vec::new(),
            next_checks: Vec::new(),
            mitigations: Vec::new(),
            trials: Vec::new(),
            timing_ms: timing,
        }
    }
}

impl Document {
    /// Says what the topology that was run is made of, and what stood in for NICs and for plugins.
    #[must_use]
    pub fn of_topology(self, topology: &Topology, options: &RunOptions, pods: &[PodAccount]) -> Self {
        let substitutions = topology.substitutions.iter().map(ToString::to_string).collect();
        let attachments = attachments(topology, options, pods, |name| format!("program {name}"));
        let is_switch = topology.substitutions.iter().any(|it| it.by == Substitute::Switch);
        let differences: &[&str] = if is_switch { &substitute::DIFFERENCES } else { &[] };
        let substitution_differences = differences.iter().map(|text| (*text).into()).collect();
        Self {
            about: topology.about.as_deref().map(one_line),
            structure: Some(Structure::of(topology)),
            substitutions,
            substitution_differences,
            used_fallback: options.used_fallback,
            ..self
        }
        .attached_by(attachments)
    }

    /// Says who attached pods. Of a run that did not come to its trials nobody has.
    #[must_use]
    pub fn attached_by(self, attachments: Vec<AttachmentDocument>) -> Self {
        if self.trials.is_empty() { self } else { Self { attachments, ..self } }
    }
}

/// A text that is broken into lines as one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Who attached the pods of a topology, up to the network that failed; `program` describes a plugin's own program by its name.
/// `pods` says how the steps of a trial ended.
pub fn attachments(
    topology: &Topology,
    options: &RunOptions,
    pods: &[PodAccount],
    program: impl Fn(&str) -> String,
) -> Vec<AttachmentDocument> {
    let attached = topology.scenario.steps.iter().filter_map(|step| match step {
        Step::Attach(attachment) => Some(attachment),
        _ => None,
    });
    let by = |network: &Network| match options.runs_programs_of(network) {
        true => network.programs().map(&program).collect::<Vec<_>>().join(", "),
        false => "the lab's own implementation".into(),
    };
    let one = |attachment: &Attachment, attached: &Attached| AttachmentDocument {
        pod: attachment.pod.to_string(),
        network: attached.network.name.clone(),
        interface: attached.ifname.to_string(),
        plugin: attached.network.delegate.plugin().into(),
        by: by(&attached.network),
    };
    let ended = pods.iter().filter(|pod| pod.attaches);
    let asked = attached.zip(ended).flat_map(|(all, pod)| {
        let failed = pod.failed.as_ref().map(|(network, _)| network);
        let last = all.delegates.iter().position(|attached| failed == Some(&attached.network.name));
        let number = last.map_or(all.delegates.len(), |last| last + 1);
        all.delegates[..number].iter().map(move |attached| one(all, attached))
    });
    asked.collect()
}

pub(crate) fn trial_document(trial: &TrialAccount) -> TrialDocument {
    let moved = |counters: &BTreeMap<String, u64>| {
        let shown = |name: &str, value: u64| value > 0 || ALWAYS_SHOWN.contains(&name);
        let counters = counters.iter().filter(|(name, value)| shown(name, **value));
        counters.map(|(name, value)| (name.clone(), *value)).collect()
    };
    let qdiscs = |all: &IndexMap<DeviceRef, QdiscDocument>| {
        all.iter().map(|(device, qdisc)| (device.to_string(), qdisc.clone())).collect()
    };
    TrialDocument {
        name: title(&trial.role),
        refused: trial.refused.as_ref().map(|refusal| refusal.error.to_string()),
        flows: trial.flows.iter().map(flow_document).collect(),
        devices: trial
            .devices
            .iter()
            .map(|(device, counters)| (device.to_string(), moved(counters)))
            .collect(),
        qdiscs: qdiscs(&trial.qdiscs),
        replaced_qdiscs: trial.replaced.iter().map(replaced_document).collect(),
        hooks: qdiscs(&trial.hooks),
        captured: trial.captured.clone(),
        captured_by_timer: trial.end.by_timer.clone(),
        links: trial.end.links.iter().map(|(device, report)| (device.to_string(), report.clone())).collect(),
        kernel_log: trial.end.kernel_log.clone(),
        acknowledged: trial.end.acknowledged.clone(),
        foreign_drops: trial.foreign.iter().map(|foreign| foreign.frames).sum(),
        kernel_frames: kernel_frames(&trial.foreign),
        kernel_moved: trial.moved.iter().map(moved_document).collect(),
        unobserved: trial.unobserved.clone(),
    }
}
