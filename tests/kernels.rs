//! `lab kernels` and how `lab run` chooses a kernel: the binary itself, with a cache of its own and no network.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;
use tempfile::TempDir;

const PINS: &str = r#"
[sets]
default = ["6.12.57"]
quick = ["6.12.57", "6.18.15"]

[[kernel]]
id = "6.12.57"
flavour = "cloud"
release = "6.12.57+deb12-cloud-amd64"
suite = "bookworm-backports"
archive = "debian"
[[kernel.packages]]
package = "linux-image-6.12.57+deb12-cloud-amd64"
version = "6.12.57-1~bpo12+1"
path = "pool/main/l/linux-signed-amd64/linux-image-6.12.57.deb"
size = 33719344
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[[kernel]]
id = "6.18.15"
flavour = "cloud"
release = "6.18.15+deb13-cloud-amd64"
suite = "trixie-backports"
archive = "debian"
[[kernel.packages]]
package = "linux-image-6.18.15+deb13-cloud-amd64"
version = "6.18.15-1~bpo13+1"
path = "pool/main/l/linux-signed-amd64/linux-image-6.18.15.deb"
size = 49146196
sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
"#;

const TOPOLOGY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/vlan-over-bond-tx-drop.toml");

/// A directory with a cache, a file of pins, and an empty mirror: no other is asked.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pins.toml"), PINS).unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        Bench(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn lab(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(arguments)
            .current_dir(self.path())
            .env("LAB_CACHE", self.path().join("cache"))
            .env("LAB_MIRROR", format!("file://{}", self.path().join("debian").display()))
            .env_remove("LAB_MIRROR_SECURITY")
            .output()
            .unwrap()
    }

    /// A cached kernel, as the archive's package would have left it.
    fn pretend_cached(&self, key: &str) {
        let tree = self.path().join("cache/kernels").join(key);
        fs::create_dir_all(&tree).unwrap();
        for part in ["vmlinux", "config", "modules.index", "manifest"] {
            fs::write(tree.join(part), part).unwrap();
        }
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn lists_the_built_in_pins() {
    let output = Bench::new().lab(&["kernels", "list"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for expected in
        ["6.12.57+deb12-cloud-amd64        bookworm-backports", "default: 6.12.57\n", "quick: ", "34 MB"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!text.contains(" cached"), "{text}");
}

#[test]
fn lists_the_pins_of_a_file() {
    let output = Bench::new().lab(&["kernels", "list", "--kernels-file", "pins.toml"]);
    assert_eq!(
        stdout(&output),
        "6.12.57          6.12.57+deb12-cloud-amd64        bookworm-backports   34 MB\n\
         6.18.15          6.18.15+deb13-cloud-amd64        trixie-backports     50 MB\n\
         \n\
         default: 6.12.57\n\
         quick: 6.12.57 6.18.15\n\
         all: every kernel above but the generic ones; ranges: 6.12..6.18, 6.12..6.18/generic\n"
    );
}

#[rstest]
#[case(&["kernels", "fetch", "6.12.58"], 2, "hint: `lab kernels add 6.12.58` pins it")]
#[case(&["kernels", "fetch", "6.12"], 2, "6.12 is a series, not one kernel; choose from 6.12.57")]
#[case(&["kernels", "fetch", "6.13..6.17"], 2, "no pinned kernel is in the range 6.13..6.17")]
#[case(&["kernels", "verify", "6.12.57/rt"], 2, "\"rt\" is no flavour: cloud and generic are")]
#[case(&["kernels", "prune", "--keep", "nightly"], 2, "no pinned kernel is called \"nightly\"; there are: 6.12.57")]
#[case(&["kernels", "add", "6.12"], 2, "\"6.12\" is not a kernel version: write it as 6.12.57 or 7.3-rc7")]
#[case(&["kernels", "add", "6.12.57", "--flavour", "rt"], 2, "[possible values: cloud, generic]")]
#[case(&["kernels", "fetch", "6.12.57"], 69, "error: kernel 6.12.57: cannot open")]
#[case(&["run", TOPOLOGY, "--kernel", "quick"], 2, "`quick` is 2 kernels; `lab run` takes one")]
#[case(&["run", TOPOLOGY, "--kernel", "6.12.58"], 2, "hint: `lab kernels add 6.12.58`")]
#[case(&["run", TOPOLOGY, "--modules", "x"], 2, "--kernel-image <FILE>")]
#[case(&["run", TOPOLOGY, "--kernel", "6.12.57", "--kernel-image", "x"], 2, "cannot be used with")]
fn says_what_is_wrong(#[case] arguments: &[&str], #[case] expected_code: i32, #[case] expected: &str) {
    let output = Bench::new().lab(&[arguments, &["--kernels-file", "pins.toml"]].concat());
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    assert_eq!(code(&output), expected_code);
    assert!(output.stdout.is_empty(), "{}", stdout(&output));
}

#[rstest]
#[case("no-such-file.toml", "cannot open no-such-file.toml")]
#[case("elsewhere", "cannot open elsewhere")]
#[case("wrong.toml", "wrong.toml: invalid kernels file: TOML parse error at line 1")]
fn a_kernels_file_that_is_none(#[case] file: &str, #[case] expected: &str) {
    let bench = Bench::new();
    fs::write(bench.path().join("wrong.toml"), "sets = 1\n").unwrap();
    let output = bench.lab(&["kernels", "list", "--kernels-file", file]);
    assert_eq!(code(&output), 65);
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn add_needs_a_file_to_write_to() {
    let bench = Bench::new();
    let output = bench.lab(&["kernels", "add", "6.12.57"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("hint: go to a checkout of the lab"), "{}", stderr(&output));

    fs::copy(bench.path().join("pins.toml"), bench.path().join("kernels.toml")).unwrap();
    let output = bench.lab(&["kernels", "add", "6.12.57"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).starts_with("6.12.57 is already pinned in "), "{}", stdout(&output));
    assert_eq!(fs::read_to_string(bench.path().join("kernels.toml")).unwrap(), PINS);
}

#[test]
fn an_image_that_is_none_is_invalid_input() {
    let bench = Bench::new();
    fs::write(bench.path().join("bzImage"), "no kernel").unwrap();
    for (image, expected) in [("bzImage", "bzImage"), ("missing", "cannot find missing")] {
        let output = bench.lab(&["run", TOPOLOGY, "--no-install", "--kernel-image", image]);
        // Without QEMU that is what is said first.
        if code(&output) != 69 {
            assert_eq!(code(&output), 65);
            assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        }
    }
}

#[test]
fn a_kernel_without_a_valid_manifest_is_damaged() {
    let bench = Bench::new();
    let pins = ["--kernels-file", "pins.toml"];
    let list = |bench: &Bench| stdout(&bench.lab(&[&["kernels", "list"][..], &pins].concat()));
    // The key is the release and a hash over the pinned ones: let the lab say it.
    let output = bench.lab(&[&["kernels", "fetch", "6.12.57"][..], &pins].concat());
    assert_eq!(code(&output), 69);
    let key = fs::read_dir(bench.path().join("cache/locks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.starts_with("6.12.57"))
        .expect("installing takes the kernel's lock");
    bench.pretend_cached(&key);
    assert!(list(&bench).contains("bookworm-backports   cached"), "{}", list(&bench));

    let output = bench.lab(&[&["kernels", "verify"][..], &pins].concat());
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "6.12.57          damaged: manifest is gone or not whole\n\
         6.12.57          removed: `lab kernels fetch 6.12.57` gets it again\n\
         0 whole, 1 damaged, 1 not cached\n"
    );
    assert!(!list(&bench).contains("cached"), "{}", list(&bench));
    let output = bench.lab(&[&["kernels", "verify"][..], &pins].concat());
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "0 whole, 0 damaged, 2 not cached\n"));
}

#[test]
fn prune_removes_what_no_pin_names() {
    let bench = Bench::new();
    bench.pretend_cached("5.4.0-1-amd64-0123456789ab");
    let prune = |days: &str| {
        let output = bench.lab(&["kernels", "prune", "--unused-days", days]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    };
    assert!(prune("1").starts_with("0 MB removed\n1 MB stay"), "it was made just now");
    assert!(prune("0").starts_with("removed kernel 5.4.0-1-amd64-0123456789ab (1 MB)\n1 MB removed\n"));
    assert_eq!(prune("0"), "0 MB removed\n");
}
