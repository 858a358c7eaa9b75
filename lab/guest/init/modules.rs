//! Loads the modules the host packed, in the order the host resolved.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use bondlab_core::plan::handshake::RefusedModule;

/// Loads what `list` names (`NAME.ko param=value`, a line each, files under `dir`).
/// Returns how many are in, and which were refused: a plan may do without those.
///
/// # Errors
/// When there is a list and it cannot be read. No list is no module.
pub fn load(list: &Path, dir: &Path) -> io::Result<(usize, Vec<RefusedModule>)> {
    let text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let mut loaded = 0;
    let mut refused = Vec::new();
    for (name, parameters) in text.lines().filter_map(parse_line) {
        let parameters = [parameters.to_owned(), from_cmdline(name, &cmdline)].join(" ");
        match load_one(&dir.join(name), parameters.trim()) {
            Ok(()) => loaded += 1,
            Err(error) => refused.push(RefusedModule { name: name.to_owned(), reason: error.to_string() }),
        }
    }
    Ok((loaded, refused))
}

/// File name and parameters; nothing for an empty line or a comment.
fn parse_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (name, parameters) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    Some((name, parameters.trim_start()))
}

/// Parameters of a module on the kernel command line, as modprobe(8) takes them from there: after those of the list, so that
/// they hold.
fn from_cmdline(file: &str, cmdline: &str) -> String {
    let module = file.strip_suffix(".ko").unwrap_or(file);
    let of_module = |word: &str| {
        let (name, parameter) = word.split_once('.')?;
        (name.replace('-', "_") == module && parameter.contains('=')).then(|| parameter.to_owned())
    };
    cmdline.split_ascii_whitespace().filter_map(of_module).collect::<Vec<_>>().join(" ")
}

fn load_one(path: &Path, parameters: &str) -> io::Result<()> {
    let file = File::open(path)?;
    let parameters = CString::new(parameters)?;
    match finit_module(&file, &parameters, ModuleInitFlags::empty()) {
        // Built in, or loaded by the kernel itself while another was probed.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_file_name_and_its_parameters() {
        assert_eq!(parse_line("bonding.ko max_bonds=0"), Some(("bonding.ko", "max_bonds=0")));
        assert_eq!(parse_line("  ifb.ko   numifbs=0 x=1 "), Some(("ifb.ko", "numifbs=0 x=1")));
        assert_eq!(parse_line("veth.ko"), Some(("veth.ko", "")));
        assert_eq!(parse_line("# bonding.ko"), None);
        assert_eq!(parse_line(" "), None);
    }

    #[test]
    fn parameters_of_a_module_are_found_on_the_command_line() {
        let cmdline = "console=ttyS0 bonding.max_bonds=2 ipv6.disable=1 bonding.miimon=100 bonding.x\n";
        assert_eq!(from_cmdline("bonding.ko", cmdline), "max_bonds=2 miimon=100");
        assert_eq!(from_cmdline("veth.ko", cmdline), "");
    }

    #[test]
    fn a_module_that_is_not_packed_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("modules.load");
        std::fs::write(&list, "absent.ko a=b\n").unwrap();
        let (loaded, refused) = load(&list, dir.path()).unwrap();
        assert_eq!(loaded, 0);
        assert_eq!(refused[0].name, "absent.ko");
        assert!(refused[0].reason.contains("No such file"), "{}", refused[0].reason);
    }

    #[test]
    fn no_list_is_no_module() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(&dir.path().join("modules.load"), dir.path()).unwrap(), (0, Vec::new()));
    }
}
