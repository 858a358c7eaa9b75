//! A standalone shell script that shows what a trial shows, without the lab: commands of `ip`, `tc` and `nft`, made from the plan.
//!
//! Frames are sent by a few lines of Python in the script, through the same kinds of socket. What no command does is said in the
//! script, on standard error when it comes there, and by the lab when the script is written.

mod commands;
mod faults;
mod links;
mod script;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::net::clean;
use crate::plan::op::Op;
use crate::plan::{Plan, Role, Trial};
use crate::report::document::Document;
use crate::report::reproducer::script::{Script, quoted};

/// What every script begins with: namespaces, counters, and the programs that send and take frames.
const PRELUDE: &str = include_str!("reproducer/prelude.sh");

/// A script, and what it does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reproducer {
    /// The text.
    pub text: String,
    /// What no command does, a line each.
    pub missing: Vec<String>,
}

/// The script of the trial that shows what a run has shown; `None` where a plan has no trial.
pub fn render(plan: &Plan, document: &Document) -> Option<Reproducer> {
    let trial = shown(plan, document)?;
    let mut script = Script::default();
    for op in &trial.ops {
        commands::perform(&mut script, plan, op);
    }
    let mut text = "#!/bin/sh\n".to_owned();
    let kernel = clean::line(&document.kernel.release);
    let _ = writeln!(
        text,
        "# {} without the lab: trial {}, as bondlab {} ran it on Linux {kernel}.",
        clean::line(&plan.topology),
        clean::line(&trial.role.to_string()),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(about) = &document.about {
        let _ = writeln!(text, "# {}", clean::line(about));
    }
    for missing in &script.missing {
        let _ = writeln!(text, "# NOT DONE: {missing}");
    }
    let namespaces: Vec<String> = trial.ops.iter().filter_map(namespace).collect();
    let _ = writeln!(
        text,
        "# It needs root, iproute2 and Python, and makes the namespaces {}.",
        namespaces.join(", ")
    );
    text += PRELUDE;
    let _ = writeln!(text, "\nsettings={}\n", quoted(&settings(plan)));
    text += &script.lines.join("\n");
    text.push('\n');
    Some(Reproducer { text, missing: script.missing })
}

fn namespace(op: &Op) -> Option<String> {
    match op {
        Op::Namespace(ns) => Some(ns.to_string()),
        _ => None,
    }
}

/// The steps; else the explanation that fits, for it shows what was reported; else the control.
fn shown<'p>(plan: &'p Plan, document: &Document) -> Option<&'p Trial> {
    let by = |wanted: &Role| plan.trials.iter().find(|trial| trial.role == *wanted);
    let fitting = document.hypotheses.iter().find(|hypothesis| hypothesis.fits);
    by(&Role::Main)
        .or_else(|| by(&Role::Hypothesis(fitting?.name.clone())))
        .or_else(|| by(&Role::Control))
        .or_else(|| plan.trials.first())
}

/// Settings of every namespace, so that the kernel sends nothing of its own; a comma is for a blank.
fn settings(plan: &Plan) -> String {
    const IPV4: &str = "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
                        net.ipv4.igmp_link_local_mcast_reports=0 net.ipv4.ping_group_range=0,0 net.ipv4.icmp_echo_ignore_all=1";
    const WITH_IPV6: &str = "net.ipv6.conf.all.addr_gen_mode=1 net.ipv6.conf.default.addr_gen_mode=1 \
                             net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 \
                             net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
                             net.ipv6.icmp.echo_ignore_all=1";
    const WITHOUT_IPV6: &str = "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1";
    format!("{IPV4} {}", if plan.ipv6 { WITH_IPV6 } else { WITHOUT_IPV6 })
}
