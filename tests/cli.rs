//! The command line with bad input, or on a machine that lacks something: exit codes, and what goes to which stream.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bondlab_host::kernel::pins::Kernels;
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

/// A lab that finds neither QEMU nor a kernel, and may get neither.
struct Bare {
    dir: TempDir,
}

impl Bare {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command.args(arguments).env("LAB_CACHE", self.cache()).env("PATH", self.dir.path());
        command.env_remove("LAB_QEMU");
        command
    }

    fn lab(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }
}

/// What a command said, where, and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("cargo has built it");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

fn topology() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/vlan-over-bond-tx-drop.toml");
    path.display().to_string()
}

/// Arguments that make no sense: 2, and on standard error which would.
#[rstest]
#[case(&[], "Usage")]
#[case(&["rum"], "run")]
#[case(&["run"], "<TOPOLOGY>")]
#[case(&["run", "TOPOLOGY", "--format", "xml"], "json")]
#[case(&["run", "TOPOLOGY", "--accel", "hvf"], "tcg, kvm or auto")]
#[case(&["run", "TOPOLOGY", "--kernel", "nonsense"], "nonsense")]
#[case(&["run", "TOPOLOGY", "--kernel", "quick"], "takes one")]
#[case(&["kernels", "fetch", "5.9.1"], "5.9.1")]
#[case(&["matrix", "TOPOLOGY", "--shard", "3/2"], "I from 1 to N")]
#[case(&["matrix", "TOPOLOGY", "--times", "last.json"], "--shard")]
fn wrong_arguments(#[case] arguments: &[&str], #[case] hint: &str) {
    let topology = topology();
    let arguments: Vec<&str> =
        arguments.iter().map(|word| if *word == "TOPOLOGY" { topology.as_str() } else { *word }).collect();
    let said = Bare::new().lab(&arguments);
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.stderr.contains(hint), "{said:?}");
}

/// `lab matrix` sets parameters as `lab run` does.
#[test]
fn a_parameter_that_a_file_of_a_matrix_does_not_have_cannot_be_set() {
    let bare = Bare::new();
    let path = bare.file("one.toml", "[parameters]\nlen = 10\n[ns.node.dummy.d0]\ntxqueuelen = \"${len}\"\n");
    let said = bare.lab(&["matrix", &path.display().to_string(), "--set", "miimon=50", "--no-compare"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(65), ""), "{said:?}");
    assert!(
        said.stderr.contains("no parameter `miimon` to set") && said.stderr.contains("there are: len"),
        "{said:?}"
    );
}

/// A wrong file is no reason to fetch kernels first.
#[test]
fn what_a_matrix_reads_is_read_before_anything_is_fetched() {
    let bare = Bare::new();
    bare.file("vlan-over-bond-tx-drop.snap", "no snapshot");
    let (dir, topology) = (bare.dir.path().display().to_string(), topology());
    for arguments in [["--shard=1/2", "--times=absent.json"], ["--snapshots", dir.as_str()]] {
        let said = bare.lab(&[&["matrix", &topology, "--kernels", "all"][..], &arguments[..]].concat());
        assert_eq!((said.code, said.stdout.as_str()), (Some(65), ""), "{said:?}");
        assert!(!bare.cache().exists(), "not even a cache: {said:?}");
    }
}

#[test]
fn a_mirror_that_cannot_be_used_is_said_once() {
    let said =
        Bare::new().lab(&["matrix", &topology(), "--kernels", "quick", "--mirror", "http://127.0.0.1:9"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(69), ""), "{said:?}");
    assert_eq!(said.stderr.matches("security archive").count(), 1, "{said:?}");
}

#[test]
fn an_unknown_kernel_is_answered_with_the_known_ones() {
    let said = Bare::new().lab(&["run", &topology(), "--kernel", "nonsense", "--no-install"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    for pin in Kernels::built_in().expect("kernels.toml").pins() {
        assert!(said.stderr.contains(&pin.name()), "{} is not in {said:?}", pin.name());
    }
}

#[test]
fn a_topology_with_mistakes_is_reported_and_nothing_is_made() {
    let bare = Bare::new();
    let path = bare.file("wrong.toml", "[ns.node.vlan.\"bond0.70\"]\nparent = \"bond0\"\nid = 4095\n");
    for kernel in ["6.12.57", "host"] {
        let said = bare.lab(&["run", &path.display().to_string(), "--kernel", kernel, "--format", "json"]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(65), ""), "{said:?}");
        for part in ["wrong.toml:3:6", "0 to 4094", "bond0", "2 problems", "nothing was created"] {
            assert!(said.stderr.contains(part), "{part:?} is not in {said:?}");
        }
        assert!(!bare.cache().exists(), "not even a cache");
    }
}

#[test]
fn what_is_no_file_is_invalid_input() {
    let bare = Bare::new();
    let binary = bare.dir.path().join("binary.toml");
    std::fs::write(&binary, b"\xff\xfe").expect("a temporary file");
    for path in [bare.dir.path().join("absent.toml"), binary, bare.dir.path().to_owned()] {
        let said = bare.lab(&["run", &path.display().to_string()]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(65), ""), "{said:?}");
        assert!(said.stderr.contains(&path.display().to_string()), "{said:?}");
    }
}

/// Exit code 69, one command on standard error, and nothing on standard output.
fn names_the_one_command(said: &Said, command: &str) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(69), ""), "{said:?}");
    let lines = said.stderr.lines().filter(|line| line.contains(command)).count();
    assert_eq!(lines, 1, "{command:?} in {said:?}");
}

#[test]
fn without_qemu_the_command_that_gets_it_is_named() {
    let said = Bare::new().lab(&["run", &topology(), "--no-install", "--format", "json"]);
    names_the_one_command(&said, "doctor --fix");
}

#[test]
fn a_qemu_that_is_not_where_it_is_said_to_be_is_named() {
    let bare = Bare::new();
    let mut command = bare.command(&["run", &topology(), "--no-install", "--format", "json"]);
    let said = said(command.env("LAB_QEMU", "/nonexistent/qemu"));
    names_the_one_command(&said, "/nonexistent/qemu");
    assert!(said.stderr.contains("LAB_QEMU"), "{said:?}");
}

#[test]
fn without_a_kernel_the_command_that_fetches_it_is_named() {
    let bare = Bare::new();
    let qemu = bare.file("qemu-system-x86_64", "#!/bin/sh\necho QEMU emulator version 10.0.2\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(qemu, executable).expect("it is ours");
    let said = bare.lab(&["run", &topology(), "--kernel", "6.12.57", "--no-install", "--format", "json"]);
    names_the_one_command(&said, "lab kernels fetch 6.12.57");
}

/// Whatever kernel the tests run on. That everything it lacks is named at once is tested in a guest that lacks it.
#[test]
fn this_kernel_runs_it_or_the_result_says_what_it_lacks() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let said = said(command.args(["run", &topology(), "--kernel", "host", "--format", "json"]));
    let document: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(document["kernel"]["backend"], "host");
    match said.code {
        Some(0) => assert_eq!(document["outcome"], "pass"),
        Some(69) => {
            assert_eq!(document["outcome"], "skip");
            assert!(
                document["reason"].as_str().is_some_and(|reason| reason.contains("lacks")),
                "{document:#}"
            );
        }
        _ => panic!("{document:#}"),
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_output_without_a_word() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended = Bare::new().command(&["schema"]).stdout(writer).output().expect("cargo has built it");
    assert_eq!(ended.status.code(), Some(128 + libc::SIGPIPE));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn plugins_own_programs_are_not_run_on_the_running_kernel() {
    let bare = Bare::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/cni-real-plugins.toml");
    let said = bare.lab(&["run", &path.display().to_string(), "--kernel", "host", "--cni", "real"]);
    assert_eq!(said.code, Some(69), "{said:?}");
    for words in ["are not run on this machine", "/var/lib/cni", "--kernel VERSION", "--cni own"] {
        assert!(said.stdout.contains(words), "{words}: {said:?}");
    }
    assert!(!said.stdout.contains("ADD by"), "nothing was: {said:?}");
}

#[test]
fn doctor_and_readme_say_what_is_untested_with_kvm() {
    let said = Bare::new().lab(&["doctor"]);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("it is there");
    for text in [said.stdout, readme].map(|text| text.to_lowercase()) {
        for words in ["no machine of the project had a working kvm", "saved machines"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}

#[test]
fn doctor_names_what_does_not_work_and_what_mends_it() {
    let said = Bare::new().lab(&["doctor", "--format", "json"]);
    assert_eq!(said.code, Some(69), "nothing is on this PATH: {said:?}");
    let document: serde_json::Value = serde_json::from_str(&said.stdout).expect("one document");
    assert_eq!(document["complete"], false);
    let findings = document["findings"].as_array().expect("a list");
    for finding in findings {
        let is_whole = finding["state"] == "ok";
        assert_eq!(finding["without"].is_string(), !is_whole, "{finding}");
    }
    let of = |part: &str| findings.iter().find(|finding| finding["part"] == part).expect("it is looked at");
    for (part, package) in [("qemu", "qemu-system-x86"), ("compiler", "build-essential")] {
        assert_eq!(of(part)["state"], "missing", "{part}");
        assert_eq!(of(part)["package"], package);
        assert!(of(part)["command"].as_str().is_none_or(|shown| shown.contains(package)), "{part}");
    }
    let parts = ["privileges", "kvm", "processors", "mirror", "cache", "running kernel", "user namespaces"];
    parts.into_iter().for_each(|part| assert!(of(part)["found"].is_string(), "{part}"));
}

/// What keeps a cache from being used is one finding, and all others are there.
#[test]
fn doctor_reports_a_cache_that_cannot_be_used() {
    let bare = Bare::new();
    let file = bare.file("file", "");
    let mut no_place = bare.command(&["doctor", "--format", "json"]);
    no_place.env_remove("LAB_CACHE").env_remove("XDG_CACHE_HOME").env_remove("HOME");
    let mut is_a_file = bare.command(&["doctor", "--format", "json"]);
    is_a_file.env("LAB_CACHE", &file);
    for mut command in [no_place, is_a_file] {
        let said = said(&mut command);
        assert_eq!(said.code, Some(69), "{said:?}");
        let document: Value = serde_json::from_str(&said.stdout).expect("one document");
        let findings = document["findings"].as_array().expect("a list");
        let cache = findings.iter().find(|finding| finding["part"] == "cache").expect("it is looked at");
        assert_eq!((&cache["state"], &cache["required"]), (&"missing".into(), &true.into()));
        assert!(cache["command"].as_str().is_some_and(|shown| shown.contains("LAB_CACHE")), "{cache}");
        assert!(findings.len() > 15, "{document}");
    }
}

/// `--fix` goes on behind what it cannot mend, and the table comes all the same.
#[test]
fn doctor_shows_what_is_left_behind_a_fix_that_failed() {
    let bare = Bare::new();
    let said = bare.lab(&["doctor", "--fix", "--mirror", "nowhere"]);
    assert_eq!(said.code, Some(69), "{said:?}");
    assert!(said.stdout.contains("missing mirror            nowhere is not the address"), "{said:?}");
    assert!(said.stdout.contains("`lab run` lacks: qemu, kernel "), "{said:?}");
    assert!(said.stderr.contains("error: qemu: "), "{said:?}");
}

/// What another version of the lab wrote is refused by name, place and version, with what to do.
#[test]
fn results_and_snapshots_of_a_later_format_are_refused() {
    let bare = Bare::new();
    let result = bare.file("r.json", "{\n  \"format\": 2,\n  \"cells\": [],\n  \"lab\": \"9.0.0\"\n}\n");
    let result = result.display().to_string();
    std::fs::create_dir_all(bare.cache().join("last-matrix")).expect("a folder");
    std::fs::copy(&result, bare.cache().join("last-matrix/result.json")).expect("a copy");
    for arguments in [&["report", "merge", &result][..], &["report", "html", &result], &["accept"]] {
        let said = said(bare.command(arguments).env_remove("CI"));
        assert_eq!(said.code, Some(65), "{arguments:?}: {said:?}");
        let place = format!("{}.json:2:3: ", if arguments == ["accept"] { "result" } else { "r" });
        for words in [&place[..], "format 2", "up to 1", "(9.0.0)", "hint: "] {
            assert!(said.stderr.contains(words), "{words}: {said:?}");
        }
    }
    let snapshots = bare.dir.path().join("snapshots");
    std::fs::create_dir_all(&snapshots).expect("a folder");
    let file = "---\nsource: t\n---\nbehaviour of 6.12.57\n  outcome: pass\n  form: 9\n\n  trial main\n";
    std::fs::write(snapshots.join("vlan-over-bond-tx-drop.snap"), file).expect("a snapshot");
    let run = ["report", "causes", &topology(), "--snapshots", &snapshots.display().to_string()];
    let said = bare.lab(&run);
    assert_eq!(said.code, Some(65), "{said:?}");
    for words in ["vlan-over-bond-tx-drop.snap", "line 6", "form 9", "up to 2", "lab accept"] {
        assert!(said.stderr.contains(words), "{words}: {said:?}");
    }
}

#[test]
fn a_new_folder_has_a_topology_that_is_valid_and_overwrites_nothing() {
    let bare = Bare::new();
    let folder = bare.dir.path().join("mine");
    let shown = folder.display().to_string();
    let said = bare.lab(&["init", &shown]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let topology = folder.join("topologies/first.toml").display().to_string();
    assert!(said.stdout.ends_with(&format!("next: lab run {topology}\n")), "{said:?}");
    let checked = bare.lab(&["topology", "check", &topology]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    std::fs::write(&topology, "mine").expect("it is there");
    let again = bare.lab(&["init", &shown]);
    assert_eq!(again.code, Some(65), "{again:?}");
    assert!(again.stderr.contains("first.toml, ") && again.stderr.contains("is already there"), "{again:?}");
    assert_eq!(std::fs::read_to_string(&topology).expect("it is there"), "mine");
}

#[test]
fn version_names_the_pinned_kernels() {
    let said = Bare::new().lab(&["--version"]);
    let kernels = Kernels::built_in().expect("kernels.toml");
    let count = kernels.select("all").expect("a set").len();
    assert!(said.stdout.starts_with(&format!("lab {}", env!("CARGO_PKG_VERSION"))), "{said:?}");
    assert!(said.stdout.contains(&format!("{count} kernels pinned, ")), "{said:?}");
    assert!(said.stdout.ends_with("\ntopology files of format 1, results of format 1\n"), "{said:?}");
}

#[test]
fn completions_and_manual_pages_have_every_command() {
    let bare = Bare::new();
    let help = bare.lab(&["--help"]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"run") && commands.contains(&"matrix"), "{help}");
    let dir = bare.dir.path().join("man");
    let said = bare.lab(&["man", "--dir", &dir.display().to_string()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let completions = bare.lab(&["completions", "bash"]).stdout;
    for command in commands.into_iter().filter(|command| *command != "help") {
        assert!(dir.join(format!("lab-{command}.1")).is_file(), "no page of {command}");
        assert!(
            completions.contains(&format!("lab__subcmd__{command}"))
                || completions.contains(&format!("lab,{command}")),
            "{command}"
        );
    }
}

#[test]
fn a_proof_of_nothing_and_a_folder_that_is_not_there_are_invalid_input() {
    let bare = Bare::new();
    let cable = "[ns.a.veth.v]\npeer = \"b:v\"\n[ns.b.veth.v]\npeer = \"a:v\"\n";
    let nothing = bare.file("nothing.toml", cable).display().to_string();
    let said = bare.lab(&["run", &nothing, "--prove"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(65), ""), "{said:?}");
    assert!(said.stderr.contains("nothing to prove\nhint: "), "{said:?}");
    let missing = bare.dir.path().join("snapshots").display().to_string();
    for command in [&["matrix"][..], &["report", "merge"], &["report", "html"], &["report", "causes"]] {
        let said = bare.lab(&[command, &[nothing.as_str(), "--snapshots", missing.as_str()]].concat());
        assert_eq!((said.code, said.stdout.as_str()), (Some(65), ""), "{said:?}");
        assert!(
            said.stderr
                .contains(&format!("hint: name the folder of snapshots, or make it: mkdir -p {missing}"))
        );
    }
}

/// A command with a text on its standard input.
fn fed(command: &mut Command, text: &str) -> Said {
    let piped = std::process::Stdio::piped;
    let mut child =
        command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("cargo has built it");
    let mut stdin = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("it reads its input");
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// `lab import - | lab run -`: what one prints is what the other reads, until there is no QEMU.
#[test]
fn an_imported_topology_goes_through_a_pipe() {
    let bare = Bare::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/vlan-drops-post.txt");
    let text = std::fs::read_to_string(path).expect("the fixture is there");
    let imported = fed(&mut bare.command(&["import", "-"]), &text);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(imported.stdout.contains("[hypothesis.filter-on-bond-by-tag]"), "{imported:?}");
    assert!(
        imported.stderr.contains("recognised: counters of ip -s link (standard input, line "),
        "{imported:?}"
    );
    let run = fed(&mut bare.command(&["run", "-", "--no-install"]), &imported.stdout);
    assert_eq!(run.code, Some(69), "{run:?}");
}

/// What is no report is refused, and nothing is on standard output.
#[rstest]
#[case(&["import", "-"], "It rains.", "shows a network device")]
#[case(&["run", "-"], "", "standard input")]
fn a_text_that_is_none_of_that_kind_is_refused(
    #[case] arguments: &[&str],
    #[case] text: &str,
    #[case] message: &str,
) {
    let said = fed(&mut Bare::new().command(arguments), text);
    assert_eq!((said.code, said.stdout.as_str()), (Some(65), ""), "{said:?}");
    assert!(said.stderr.contains(message), "{said:?}");
}

#[test]
fn a_topology_is_looked_at_without_a_machine() {
    let bare = Bare::new();
    for (arguments, expected) in [
        (&["check"][..], "vlan-over-bond-tx-drop: no mistakes; "),
        (&["show"], "plan vlan-over-bond-tx-drop, IPv6 "),
        (&["graph"], "bond0 bond "),
        (&["graph", "--format", "svg"], "<svg class=\"drawing\" xmlns="),
        (&["graph", "--format", "mermaid"], "flowchart TB\n"),
        (&["graph", "--format", "dot"], "digraph \"vlan-over-bond-tx-drop\" {"),
    ] {
        let said = bare.lab(&[&["topology"], &arguments[..1], &[&topology()], &arguments[1..]].concat());
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.stdout.contains(expected), "{expected}: {said:?}");
    }
    let wrong = bare.file("wrong.toml", "[ns.node.bond.bond0]\n");
    let said = bare.lab(&["topology", "check", &wrong.display().to_string()]);
    assert_eq!(said.code, Some(65), "{said:?}");
    assert!(said.stderr.contains("missing key `mode`"), "{said:?}");
}

#[rstest]
#[case(
    "network:\n  version: 2\n  bonds:\n    bond0: {interfaces: [eno1], parameters: {mode: active-backup}}\n",
    "netplan"
)]
#[case("auto bond0\niface bond0 inet manual\n  bond-slaves eno1 eno2\n", "/etc/network/interfaces")]
#[case(
    "Our bond drops:\n\n2: p0: <BROADCAST,UP> mtu 1500 qdisc mq state UP\n",
    "ip link or ip address (text)"
)]
fn a_file_of_another_format_is_said_to_be_one(#[case] text: &str, #[case] format: &str) {
    let bare = Bare::new();
    let path = bare.file("mine", text).display().to_string();
    for command in ["run", "lint"] {
        let said = bare.lab(&[command, &path]);
        let expected = format!(
            "error: {path} is no topology: it has the format {format}\n\
             hint: `lab import` makes a topology of it: lab import {path} | lab run -\n"
        );
        assert_eq!((said.code, said.stderr), (Some(65), expected), "{command}");
    }
}
