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

const TUNNELS: &str = "ip_gre";
/// With 2 no namespace has the devices that tunnels make by themselves (`net_has_fallback_tunnels()`).
const FALLBACK_TUNNELS: &str = "/proc/sys/net/core/fb_tunnels_only_for_init_net";

/// The module that makes devices whatever its parameters are, and which.
fn makes_anyhow(need: &Need) -> Option<(&'static str, &'static str)> {
    match need {
        // teql_init(): max_equalizers is 1 at the least.
        Need::Qdisc(kind) if kind == "teql0" => Some(("sch_teql", "a device teql0")),
        // ipgre_init_net(), ipgre_tap_init_net(), erspan_init_net(), net/ipv4/ip_gre.c
        Need::Link(kind) if matches!(kind.as_str(), "gre" | "gretap") => {
            Some((TUNNELS, "devices gre0, gretap0 and erspan0"))
        }
        _ => None,
    }
}

/// A module is loaded in well under a second; a slow disk takes some.
const MODPROBE_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Loads what is needed and not there yet. Returns the needs that may be probed without harm, and a sentence for each
/// other one: to probe a kind of link is to ask for it.
pub fn load(needs: &[Need]) -> (Vec<Need>, Vec<String>) {
    let is_there = |module: &str| Path::new("/sys/module").join(module).exists();
    let has_no_fallback =
        || std::fs::read_to_string(FALLBACK_TUNNELS).is_ok_and(|setting| setting.trim() == "2");
    let may_make =
        |module: &str| is_machine() || is_there(module) || (module == TUNNELS && has_no_fallback());
    sort(needs, may_make, |module, parameter| is_there(module) || modprobe(module, parameter))
}

fn sort(
    needs: &[Need],
    may_make: impl Fn(&str) -> bool,
    mut loaded: impl FnMut(&str, &str) -> bool,
) -> (Vec<Need>, Vec<String>) {
    let (mut harmless, mut missing) = (Vec::new(), Vec::new());
    for need in needs {
        if let Some((module, devices)) = makes_anyhow(need).filter(|(module, _)| !may_make(module)) {
            missing.push(format!("{need}: module {module} is not loaded, and would make {devices} here"));
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
        let (harmless, missing) = sort(
            &needs,
            |_| false,
            |module, parameter| {
                asked.push(format!("{module} {parameter}"));
                module == "dummy"
            },
        );
        assert_eq!(asked, ["bonding max_bonds=0", "dummy numdummies=0"]);
        assert_eq!(harmless, [Need::Link("dummy".into()), Need::Link("veth".into())]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].starts_with("links of kind bond: module bonding is not loaded"), "{missing:?}");
    }

    /// `gre0` and its like stayed on a machine after a topology with a tunnel.
    #[test]
    fn a_module_that_makes_devices_of_its_own_is_not_loaded_by_asking_for_what_it_has() {
        let needs = [Need::Link("gretap".into()), Need::Qdisc("teql0".into()), Need::Link("veth".into())];
        let (harmless, missing) = sort(&needs, |_| false, |_, _| true);
        assert_eq!(harmless, needs[2..]);
        assert!(missing[0].contains("would make devices gre0, gretap0 and erspan0 here"), "{missing:?}");
        assert!(missing[1].contains("would make a device teql0 here"), "{missing:?}");
        assert_eq!(sort(&needs, |_| true, |_, _| true).0, needs);
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
