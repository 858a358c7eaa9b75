//! Loads the modules the host packed, in the order the host resolved.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::kmod::init_module;

use bondlab_core::plan::handshake::RefusedModule;

// Keep in sync with include/linux/module_signature.h.
const SIGNATURE_MARKER: &[u8] = b"~Module signature appended~\n";
const SIGNATURE_INFO_BYTES: usize = 12;

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

/// Loads a module without its signature: to verify one with RSA takes a translated guest 20 ms, of 70 modules a quarter of its
/// boot. Such a module taints the kernel ("E"), which changes nothing else (`module_sig_check()`, `add_taint_module()`). A kernel
/// that demands signatures (CONFIG_MODULE_SIG_FORCE, lockdown) refuses it, and gets the whole file.
fn load_one(path: &Path, parameters: &str) -> io::Result<()> {
    let file = fs::read(path)?;
    let parameters = CString::new(parameters)?;
    let module = unsigned(&file);
    let loaded = match init_module(module, &parameters) {
        Err(Errno::EKEYREJECTED | Errno::EPERM) if module.len() < file.len() => {
            init_module(&file, &parameters)
        }
        other => other,
    };
    match loaded {
        // Built in, or loaded by the kernel itself while another was probed.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// What is before the signature: the file ends with the signature, a `struct module_signature`, whose last word is the
/// signature's length, and a marker (`mod_verify_sig()`).
fn unsigned(file: &[u8]) -> &[u8] {
    let content = || {
        let signed = file.strip_suffix(SIGNATURE_MARKER)?;
        let (_, length) = signed.split_last_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        signed.get(..signed.len().checked_sub(length.checked_add(SIGNATURE_INFO_BYTES)?)?)
    };
    content().unwrap_or(file)
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
    fn a_signature_is_cut_off() {
        let signed = |content: &[u8], length: u32| {
            [content, &[0; 8], &length.to_be_bytes(), SIGNATURE_MARKER].concat()
        };
        assert_eq!(unsigned(&signed(b"ELF and a signature", 9)), b"ELF and a ");
        assert_eq!(unsigned(b"ELF without one"), b"ELF without one");
        for (cut, what) in [
            (signed(b"ELF", 4), "longer than the file"),
            (signed(b"ELF", u32::MAX), "of no possible length"),
            (SIGNATURE_MARKER.to_vec(), "the marker alone"),
        ] {
            assert_eq!(unsigned(&cut), cut, "{what}");
        }
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
