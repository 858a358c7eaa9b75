//! Pods attached by the plugins' own programs and by what the lab does in their place: both leave the same, and who did it is
//! told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bondlab_host::install;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{KERNEL, gallery_folder, lab_run, machine, pin};

const PACKAGE: &str = "containernetworking-plugins";
const FOLDER: &str = "/usr/lib/cni";
/// Each type that Debian's package has, by what attaches it and by what detaches it; and `dhcp` with its daemon.
const TOPOLOGIES: [&str; 7] = [
    "cni-real-plugins",
    "cni-real-plugins-del",
    "cni-real-bridge",
    "cni-dhcp",
    "cni-dhcp-next-pod",
    "cni-second-default-route",
    "cni-bridge-gateway",
];
/// What of a result says what ADD, CHECK and DEL came to. Counters have the kernel's own frames in them.
const COMPARED: [&str; 4] = ["outcome", "checks", "states", "flows"];

pub fn trials() -> Vec<Trial> {
    let trial = |name: &'static str| {
        machine::trial_with(format!("plugins: {name} by both ways"), pin(), installed, move |_, _| {
            let [own, real] = ["own", "real"].map(|way| result(name, way));
            assert_eq!(own["outcome"], "pass", "{own:#}");
            for part in COMPARED {
                lab_run::assert_same(
                    &own[part],
                    &real[part],
                    &format!("{part}: the lab's way and the plugins'"),
                );
            }
        })
    };
    let foreign =
        machine::trial("plugins: a program of the name `bond` is run, and is named", pin(), |_, _| {
            a_bond_program_is_run();
        });
    let absent = machine::trial("plugins: no program, no run", pin(), |_, _| without_a_program());
    let chosen = machine::trial("plugins: auto takes what is there", pin(), |_, _| what_is_there_is_taken());
    TOPOLOGIES.into_iter().map(trial).chain([foreign, absent, chosen]).collect()
}

/// A network of the bond plugin, and one of macvlan.
const TWO_PLUGINS: &str = "[ns.node.dummy.eth0]\n[ns.node.dummy.eth1]\n[ns.node.dummy.eth2]\n\
    [net.bonded]\ntype = 'bond'\nmode = 'active-backup'\nmiimon = '100'\n\
    links = [{ name = 'eth0' }, { name = 'eth1' }]\n\
    [net.on-parent]\ntype = 'macvlan'\nmaster = 'eth2'\n\
    [[step]]\nattach = { pod = 'pod', node = 'node', networks = ";
const ONE_ORDER: &str = "['on-parent', 'bonded']";
const OTHER_ORDER: &str = "['bonded', 'on-parent']";
const SAID: &str = "{\"cniVersion\": \"0.4.0\", \"code\": 999, \"msg\": \"not today\"}";

/// The topology, and a folder with a program of each name that says [`SAID`] without having read its input.
fn bench(names: &[&str], networks: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder of one's own");
    let topology = folder.path().join("two-plugins.toml");
    fs::write(&topology, format!("{TWO_PLUGINS}{networks} }}\n")).expect("a folder can be written to");
    for name in names {
        let program = folder.path().join(name);
        fs::write(&program, failing_program(SAID)).expect("a folder can be written to");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is our own");
    }
    (folder, topology)
}

fn run_two(names: &[&str], networks: &str, way: &str) -> (i32, Value) {
    let (folder, topology) = bench(names, networks);
    let programs = folder.path().to_str().expect("a temporary folder has a plain name");
    let (status, stdout) =
        lab_run::output_with(&topology, KERNEL, &["--cni", way, "--cni-plugins", programs]);
    (status, lab_run::document(&stdout).expect("one document"))
}

/// A static x86-64 program: write(1, text), exit(1). Machine code and one segment, by elf(5).
fn failing_program(text: &str) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    const CODE_BYTES: u64 = 34;
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0xbe];
    code.extend((BASE + HEADERS + CODE_BYTES).to_le_bytes());
    code.push(0xba);
    code.extend(u32::try_from(text.len()).expect("a short text").to_le_bytes());
    code.extend([0x0f, 0x05, 0x6a, 0x3c, 0x58, 0x0f, 0x05]);
    assert_eq!(code.len() as u64, CODE_BYTES - 2);
    // exit() has its first argument in edi, which is 1 since write(): the padding is never reached.
    code.extend([0xcc, 0xcc]);
    let size = HEADERS + CODE_BYTES + text.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [BASE + HEADERS, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file.extend(text.bytes());
    file
}

fn a_bond_program_is_run() {
    let (status, document) = run_two(&["bond", "macvlan"], OTHER_ORDER, "real");
    assert_eq!(status, 1, "{document:#}");
    assert!(document.to_string().contains("bond ADD: not today"), "{document:#}");
    let by: Vec<_> =
        document["attachments"].as_array().expect("a list").iter().map(|one| &one["by"]).collect();
    let [Value::String(by)] = by[..] else { panic!("macvlan's ADD was not carried out: {document:#}") };
    assert!(by.contains("/bond (sha256 "), "{document:#}");
}

fn without_a_program() {
    let (status, document) = run_two(&["macvlan"], ONE_ORDER, "real");
    assert_eq!(status, 69, "{document:#}");
    let reason = document["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("bonded (net2 of pod pod): no program `bond`"), "{document:#}");
}

fn what_is_there_is_taken() {
    let (status, document) = run_two(&["bond"], ONE_ORDER, "auto");
    assert_eq!(status, 1, "{document:#}");
    assert!(document.to_string().contains("bond ADD: not today"), "{document:#}");
    assert_eq!(document["attachments"][0]["by"], "the lab's own implementation");
    assert!(document["attachments"][1]["by"].as_str().is_some_and(|by| by.starts_with("program ")));
}

fn result(name: &str, way: &str) -> Value {
    let topology = gallery_folder().join(format!("{name}.toml"));
    let more = ["--cni", way, "--cni-plugins", FOLDER];
    let (_, stdout) = lab_run::output_with(&topology, KERNEL, &more);
    lab_run::document(&stdout).expect("one document")
}

/// Debian's package, got where it is missing and we are root.
fn installed(bench: &machine::Bench) -> Result<(), String> {
    let is_there = || Path::new(FOLDER).join("macvlan").is_file();
    if !is_there() && machine::is_root() && install::has_apt() {
        eprintln!("installing {PACKAGE}: the programs that the lab's own way is compared with");
        install::ensure(&bench.cache, PACKAGE, is_there).map_err(|error| error.to_string())?;
    }
    if is_there() { Ok(()) } else { Err(format!("no plugins in {FOLDER}: apt-get install {PACKAGE}")) }
}
