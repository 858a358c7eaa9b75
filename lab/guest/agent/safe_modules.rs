//! Loads modules that would leave a device behind if the kernel loaded them by itself.
//!
//! Asking for the first bond of a kernel makes it load `bonding`, whose default parameters make a `bond0` in the
//! initial namespace. On a user's own machine that would touch its network, so such a module is loaded first, with the
//! parameter that forbids it, or the run ends here.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::agent::wait;
use crate::init::is_machine;
use bondlab_core::plan::Need;

/// Kind of link, its module, and the parameter that keeps it from making devices of its own.
const MAKES_DEVICES: [(&str, &str, &str); 3] = [
    ("bond", "bonding", "max_bonds=0"), // bonding_init(), drivers/net/bonding/bond_main.c
    ("dummy", "dummy", "numdummies=0"), // dummy_init_module(), drivers/net/dummy.c
    ("ifb", "ifb", "numifbs=0"),        // ifb_init_module(), drivers/net/ifb.c
];

/// A module is loaded in well under a second; a slow disk takes some.
const MODPROBE_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Loads what is needed and not there yet. Returns the needs that may be probed without harm, and a sentence for each
/// other one: to probe a kind of link is to ask for it.
pub fn load(needs: &[Need]) -> (Vec<Need>, Vec<String>) {
    let is_there = |module: &str| Path::new("/sys/module").join(module).exists();
    sort(needs, |module, parameter| is_there(module) || modprobe(module, parameter))
}

fn sort(needs: &[Need], mut loaded: impl FnMut(&str, &str) -> bool) -> (Vec<Need>, Vec<String>) {
    let (mut harmless, mut missing) = (Vec::new(), Vec::new());
    for need in needs {
        // teql_init() makes its first equalizer in any case (max_equalizers is 1 at the least).
        if *need == Need::Qdisc("teql0".into())
            && !is_machine()
            && !Path::new("/sys/module/sch_teql").exists()
        {
            missing
                .push(format!("{need}: module sch_teql is not loaded, and would make a device teql0 here"));
            continue;
        }
        let makes_devices = MAKES_DEVICES.iter().find(|(kind, ..)| *need == Need::Link((*kind).into()));
        match makes_devices {
            Some((_, module, parameter)) if !loaded(module, parameter) => missing.push(format!(
                "{need}: module {module} is not loaded, and `modprobe {module} {parameter}` fails"
            )),
            _ => harmless.push(need.clone()),
        }
    }
    (harmless, missing)
}

fn modprobe(module: &str, parameter: &str) -> bool {
    // The one the kernel itself would start: PATH need not have the folder that it is in.
    let own = std::fs::read_to_string("/proc/sys/kernel/modprobe").unwrap_or_default();
    let program = Some(own.trim()).filter(|path| !path.is_empty()).unwrap_or("modprobe");
    succeeds_within(Command::new(program).args(["--quiet", module, parameter]), MODPROBE_TIMEOUT)
}

/// Whether a program ends well in time; one that does not end is killed.
fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    let ended = wait::until(Instant::now() + limit, LOOK_INTERVAL, || child.try_wait().transpose());
    if ended.is_none() {
        // init_module() can wait in the kernel for ever, where no signal ends it: it is not waited for.
        let _ = child.kill();
    }
    ended.is_some_and(|status| status.is_ok_and(|status| status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_not_probed_and_the_rest_is() {
        let needs = ["bond", "dummy", "veth"].map(|kind| Need::Link(kind.into()));
        let mut asked = Vec::new();
        let (harmless, missing) = sort(&needs, |module, parameter| {
            asked.push(format!("{module} {parameter}"));
            module == "dummy"
        });
        assert_eq!(asked, ["bonding max_bonds=0", "dummy numdummies=0"]);
        assert_eq!(harmless, [Need::Link("dummy".into()), Need::Link("veth".into())]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].starts_with("links of kind bond: module bonding is not loaded"), "{missing:?}");
    }

    #[test]
    fn a_program_that_does_not_end_is_not_waited_for() {
        let shell = |script: &str, limit| {
            let mut command = Command::new("sh");
            succeeds_within(command.args(["-c", script]), limit)
        };
        assert!(shell("exit 0", MODPROBE_TIMEOUT) && !shell("exit 1", MODPROBE_TIMEOUT));
        let begun = Instant::now();
        assert!(!shell("exec sleep 100", Duration::from_millis(50)));
        assert!(begun.elapsed() < MODPROBE_TIMEOUT);
    }
}
