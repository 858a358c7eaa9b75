//! Attachments of pods: what plugins would do, as operations, and every mistake of a configuration at its place.

use std::fs;
use std::path::Path;

use bondlab_core::judge::account::PodAccount;
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::plan::lower::{lower, lower_with};
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::OpError;
use bondlab_core::plan::{Plan, Programs, RunOptions};
use bondlab_core::report::document::{self, Document, KernelDocument, Timing, TrialDocument};
use bondlab_core::topology::Topology;

fn topology(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pods/{name}.toml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Topology::parse(name, &format!("{name}.toml"), &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn by_programs() -> RunOptions {
    RunOptions { programs: Programs::Always, ..RunOptions::default() }
}

fn every_key() -> Topology {
    topology("every-key")
}

#[test]
fn plugins_do_these_operations() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("pods");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let plan = lower(&every_key());
    let about_pods = plan.trials[0]
        .ops
        .iter()
        .filter(|op| matches!(op, Op::Attach { .. } | Op::Detach { .. } | Op::CheckPod { .. }));
    let text: Vec<String> = about_pods.map(ToString::to_string).collect();
    settings.bind(|| insta::assert_snapshot!("every-key", text.join("\n")));
}

#[test]
fn attachments_travel() {
    let plan = lower(&every_key());
    let json = serde_json::to_string(&plan).expect("a plan is plain data");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("what was written can be read"), plan);
}

#[test]
fn addresses_that_a_pod_asks_for_are_given_to_it() {
    let plan = lower(&topology("requests"));
    let attach = plan.trials[0].ops.iter().find(|op| matches!(op, Op::Attach { .. }));
    let text = attach.expect("a step attaches").to_string();
    for expected in [
        "create macvlan pod:net1 parent node:eth0 mode bridge mac 02:00:5e:00:53:05",
        "addresses of pod:net1 10.0.0.5/24",
        "addresses of pod:net2 10.1.0.9/24",
        "create veth pod:net3 peer node:veth0000 mac 02:00:5e:00:53:06",
        "addresses of pod:net4 10.2.0.6/24",
    ] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
}

/// libcni's `injectRuntimeConfig()`: what a program reads.
#[test]
fn programs_are_reported_what_a_pod_asks_for() {
    let json = serde_json::to_string(&lower_with(&topology("requests"), &by_programs()))
        .expect("a plan is plain data");
    for expected in [
        r#"\"runtimeConfig\":{\"ips\":[\"10.0.0.5/24\"],\"mac\":\"02:00:5e:00:53:05\"}"#,
        r#"\"runtimeConfig\":{\"ips\":[\"10.1.0.9\"]}"#,
    ] {
        assert!(json.contains(expected), "no `{expected}`");
    }
}

#[test]
fn any_plugin_can_be_its_own_program() {
    let plan = lower_with(&every_key(), &by_programs()).to_string();
    for name in ["bond", "sriov", "macvlan", "vlan", "bridge", "host-device"] {
        assert!(plan.contains(&format!("run {name} ADD")), "{name} is not run");
    }
}

#[test]
fn nobody_has_attached_a_pod_of_a_run_that_did_not_come_to_its_trials() {
    let [id, release, backend, accelerator, clock] =
        ["6.12.57", "6.12.57+deb12-cloud-amd64", "vm", "tcg", "real"].map(String::from);
    let kernel = KernelDocument { id, release, backend, accelerator, clock };
    let reason = "it lacks a NIC".to_owned();
    let skipped = Document::unfinished("every-key", kernel, Outcome::Skip, reason, Timing::default());
    let ran = Document { trials: vec![TrialDocument::default()], ..skipped.clone() };
    let attach = PodAccount { what: "attach p".into(), attaches: true, ..PodAccount::default() };
    let attachments = |document: Document, pods: &[PodAccount]| {
        document.of_topology(&every_key(), &by_programs(), pods).attachments
    };
    assert_eq!(attachments(skipped, &[]), []);
    assert_eq!(attachments(ran.clone(), &[]), [], "the step was not reached");
    assert!(!attachments(ran, &[attach]).is_empty());
}

/// `addPlugins()` of Multus ends at the first ADD that fails.
#[test]
fn nobody_has_attached_what_follows_a_network_that_failed() {
    let pods = topology("requests");
    let networks = |ends: &[(bool, Option<&str>)]| {
        let end = |(attaches, failed): &(bool, Option<&str>)| PodAccount {
            attaches: *attaches,
            failed: failed
                .map(|network| (network.to_owned(), OpError { what: "x".into(), errno: None, text: None })),
            ..PodAccount::default()
        };
        let ends: Vec<_> = ends.iter().map(end).collect();
        let attached = document::attachments(&pods, &by_programs(), &ends, ToString::to_string);
        attached.iter().map(|attached| attached.network.clone()).collect::<Vec<_>>().join(" ")
    };
    let all = networks(&[(true, None), (true, None)]);
    let (first, rest) = all.split_once(' ').expect("several networks");
    assert_eq!(networks(&[(true, Some(first))]), first, "of {first} and {rest}");
    assert_eq!(networks(&[(false, None)]), "", "a detachment attaches nothing");
}
