//! Random topologies, all in one guest: the kernel makes each as it is written, and what it shows is read back equal.

use bondlab_core::plan::Plan;
use bondlab_core::plan::lower::lower;
use bondlab_core::topology::Topology;
use bondlab_host::kernel::store::Kernel;
use bondlab_host::run::runner::carry_out_in_machine;
use libtest_mimic::Trial;

use crate::machine::{self, Bench};
use crate::random::{self, Generator};
use crate::{FULL_VARIABLE, shared};

/// It knows all options.
const KERNEL: &str = "7.3.4";
const COUNT_VARIABLE: &str = "LAB_TEST_TOPOLOGIES";
/// For each commit.
const COUNT_DEFAULT: usize = 100;
/// For the night.
const COUNT_FULL: usize = 300;
const SEED_VARIABLE: &str = "LAB_FUZZ_SEED";

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

pub fn trial() -> Trial {
    let pin = machine::pins(KERNEL).remove(0);
    let default = if machine::is_set(FULL_VARIABLE) { COUNT_FULL } else { COUNT_DEFAULT };
    let count = number(COUNT_VARIABLE, default);
    let name = format!("random topologies: {count} come up in one guest and read back equal");
    machine::trial(name, pin, move |bench, kernel| come_up(bench, kernel, count))
}

fn come_up(bench: &Bench, kernel: &Kernel, count: usize) {
    let mut random = Generator(number(SEED_VARIABLE, 13) as u64);
    let texts: Vec<String> = (0..count).map(|_| random::topology::topology(&mut random)).collect();
    let topologies: Vec<Topology> = texts.iter().map(|text| read(text)).collect();
    let plan = together(&topologies);
    let machine = shared::machine(bench, kernel);
    let run = carry_out_in_machine(&topologies[0], &plan, &machine).expect("a machine starts");
    let account = run.account.unwrap_or_else(|| panic!("{:?} {:?}", run.document.reason, run.missing));
    assert_eq!(account.trials.len(), count);
    let refused: Vec<String> = (account.trials.iter().zip(&texts))
        .filter_map(|(trial, text)| Some(format!("{:?}\n{text}", trial.refused.as_ref()?.error)))
        .collect();
    let links: usize = topologies.iter().map(|topology| topology.links.len()).sum();
    println!("{count} topologies, {links} links: {} refused", refused.len());
    assert!(refused.is_empty(), "{} of {count}:\n{}", refused.len(), refused.join("\n----\n"));
}

fn read(text: &str) -> Topology {
    Topology::parse("random", "random.toml", text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// One plan with a trial for each: namespaces of its own, and what all of them need of the kernel.
fn together(topologies: &[Topology]) -> Plan {
    let mut plans = topologies.iter().map(lower);
    let mut plan = plans.next().expect("there is one");
    for other in plans {
        plan.trials.extend(other.trials);
        plan.needs.extend(other.needs);
        plan.ipv6 |= other.ipv6;
    }
    plan.needs.sort();
    plan.needs.dedup();
    plan
}
