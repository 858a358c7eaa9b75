//! What a topology asks of its machine, as the kernel shows it: processors, the kernel command line, parameters of modules.

use std::fs;
use std::path::Path;

use bondlab_core::plan::Need;

/// Why the machine is not as asked, if it is not.
pub fn obstacle(need: &Need) -> Option<String> {
    obstacle_below(Path::new("/"), need)
}

fn obstacle_below(root: &Path, need: &Need) -> Option<String> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    match need {
        Need::Processors(asked) => {
            let online = read("sys/devices/system/cpu/online");
            let count = processors(online.trim());
            (count != u32::from(*asked)).then(|| format!("it has {count}"))
        }
        Need::CommandLine(word) => {
            let cmdline = read("proc/cmdline");
            let is_there = cmdline.split_ascii_whitespace().any(|known| known == word);
            (!is_there).then(|| "the kernel was started without it".into())
        }
        Need::Parameter { module, name, value } => {
            let path = format!("sys/module/{module}/parameters/{name}");
            match fs::read_to_string(root.join(&path)) {
                Ok(is) if is.trim() == value => None,
                Ok(is) => Some(format!("it is {}", is.trim())),
                Err(_) if !root.join(format!("sys/module/{module}")).exists() => {
                    Some("the module is not there".into())
                }
                // A parameter without a mode has no file (module_param() with 0), and is taken at its word where the module
                // says that it has it; a kernel ignores those that a module does not have (unknown_module_param_cb()).
                Err(_) if has_parameter(&root.join(format!("lab/modules/{module}.ko")), name) => None,
                Err(_) => Some("the module has no such parameter, or does not show it".into()),
            }
        }
        Need::WithoutModule(module) => {
            let is_there = root.join(format!("sys/module/{module}")).exists();
            is_there.then(|| "it is there: built in, or another module needs it".into())
        }
        _ => None,
    }
}

/// Whether a module says in its `.modinfo` that it has a parameter.
fn has_parameter(module: &Path, name: &str) -> bool {
    let wanted = format!("parmtype={name}:");
    fs::read(module).is_ok_and(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes()))
}

/// How many processors a list such as `0-3,5` has.
fn processors(list: &str) -> u32 {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first).map(|more| more + 1)
    };
    list.split(',').filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_ranges() {
        assert_eq!(processors("0"), 1);
        assert_eq!(processors("0-3"), 4);
        assert_eq!(processors("0-1,3,5-6"), 5);
        assert_eq!(processors(""), 0);
    }

    #[test]
    fn what_is_not_as_asked_is_said() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/devices/system/cpu/online", "0-1\n");
        write("proc/cmdline", "console=ttyS0 ipv6.disable=1\n");
        write("sys/module/bonding/parameters/max_bonds", "1\n");
        write("lab/modules/bonding.ko", "\0parmtype=tx_queues:int\0");
        let parameter = |module: &str, name: &str, value: &str| Need::Parameter {
            module: module.into(),
            name: name.into(),
            value: value.into(),
        };
        for (need, expected) in [
            (Need::Processors(2), None),
            (Need::Processors(4), Some("it has 2")),
            (Need::CommandLine("ipv6.disable=1".into()), None),
            (Need::CommandLine("ipv6.disable=0".into()), Some("the kernel was started without it")),
            (parameter("bonding", "max_bonds", "1"), None),
            (parameter("bonding", "max_bonds", "2"), Some("it is 1")),
            (parameter("bonding", "tx_queues", "2"), None),
            (parameter("bonding", "x", "2"), Some("the module has no such parameter, or does not show it")),
            (parameter("ifb", "numifbs", "2"), Some("the module is not there")),
            (Need::WithoutModule("tun".into()), None),
            (
                Need::WithoutModule("bonding".into()),
                Some("it is there: built in, or another module needs it"),
            ),
        ] {
            assert_eq!(obstacle_below(root.path(), &need).as_deref(), expected, "{need:?}");
        }
    }
}
