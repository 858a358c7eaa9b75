//! Loads modules that would leave a device behind if the kernel loaded them by itself.
//!
//! Asking for the first bond of a kernel makes it load `bonding`, whose default parameters make a `bond0` in the
//! initial namespace. On a user's own machine that would touch its network, so such a module is loaded first, with the
//! parameter that forbids it, or the run ends here.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::plan::Need;

/// Kind of link, its module, and the parameter that keeps it from making devices of its own.
const MAKES_DEVICES: [(&str, &str, &str); 3] = [
    ("bond", "bonding", "max_bonds=0"), // bonding_init(), drivers/net/bonding/bond_main.c
    ("dummy", "dummy", "numdummies=0"), // dummy_init_module(), drivers/net/dummy.c
    ("ifb", "ifb", "numifbs=0"),        // ifb_init_module(), drivers/net/ifb.c
];

/// Loads what is needed and not there yet. Returns a sentence for each module that could not be loaded.
pub fn load(needs: &[Need]) -> Vec<String> {
    let wanted = MAKES_DEVICES.iter().filter(|(kind, _, _)| needs.contains(&Need::Link((*kind).into())));
    wanted
        .filter(|(_, module, _)| !Path::new("/sys/module").join(module).exists())
        .filter(|(_, module, parameter)| !modprobe(module, parameter))
        .map(|(kind, module, parameter)| {
            format!("links of kind {kind}: module {module} is not loaded, and `modprobe {module} {parameter}` fails")
        })
        .collect()
}

fn modprobe(module: &str, parameter: &str) -> bool {
    Command::new("modprobe")
        .args(["--quiet", module, parameter])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
