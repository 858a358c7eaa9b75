//! Files that a topology includes: what becomes of them, where their mistakes are, and which are refused.

use std::fs;
use std::path::PathBuf;

use bondlab_core::topology::Topology;
use bondlab_host::include;
use rstest::rstest;
use tempfile::TempDir;

const CABLE: &str =
    "[ns.node.veth.p0]\npeer = \"far:p0\"\nmtu = 1400\n[ns.far.veth.p0]\npeer = \"node:p0\"\n";

/// Files in a folder, and what reading the first of them comes to.
struct Files(TempDir);

impl Files {
    fn of(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Result<Topology, String> {
        // Messages with paths from the folder on.
        let folder = format!("{}/", self.0.path().display());
        let plain = |text: String| text.replace(&folder, "");
        let source = include::read(&self.path(name)).map_err(|error| plain(error.to_string()))?;
        let all = Topology::variants_of("t", &source, &[]).map_err(|errors| plain(errors.lines()))?;
        Ok(all.into_iter().next().expect("there is one"))
    }
}

#[test]
fn what_includes_is_put_over_what_is_included() {
    let own = "include = [\"common/cable.inc\"]\nabout = \"mine\"\n[ns.node.veth.p0]\nmtu = 1300\n[ns.node.dummy.d0]\n";
    let files = Files::of(&[("t.toml", own), ("common/cable.inc", CABLE)]);
    let topology = files.read("t.toml").unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<String> = topology.links.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["node:p0", "node:d0", "far:p0"]);
    assert_eq!(topology.links[0].mtu, Some(1300));
    assert_eq!(topology.about.as_deref(), Some("mine"));
}

#[test]
fn a_file_on_disk_includes_another_by_its_name() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/include.toml");
    let source = include::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let all = Topology::variants_of("t", &source, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(all[0].links.len(), 3);
}

#[test]
fn a_file_that_two_include_is_there_once() {
    let files = Files::of(&[
        ("t.toml", "include = [\"a.inc\", \"b.inc\"]\n"),
        ("a.inc", "include = [\"cable.inc\"]\n[ns.node.dummy.a]\n"),
        ("b.inc", "include = [\"cable.inc\"]\n[ns.node.dummy.b]\n"),
        ("cable.inc", CABLE),
    ]);
    let topology = files.read("t.toml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(topology.links.len(), 4);
}

#[test]
fn a_mistake_has_the_name_and_the_line_of_its_own_file() {
    let files = Files::of(&[
        (
            "t.toml",
            "about = \"x\"\ninclude = [\"cable.inc\"]\n[ns.node.vlan.v]\nparent = \"p9\"\nid = 4095\n",
        ),
        ("cable.inc", "[ns.node.veth.p0]\npeer = \"far:p0\"\nmtu = 5\n"),
    ]);
    let said = files.read("t.toml").expect_err("it has mistakes");
    let places: Vec<&str> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(places.len(), 3, "{said}");
    assert!(places[0].starts_with("cable.inc:3:7: "), "{said}");
    assert!(places[1].starts_with("t.toml:4:10: ") && places[2].starts_with("t.toml:5:6: "), "{said}");
}

#[rstest]
#[case::circle(&[("t.toml", "include = [\"a.inc\"]\n"), ("a.inc", "include = [\"t.toml\"]\n")], "a.inc:1:12: this file is being included already")]
#[case::itself(&[("t.toml", "include = [\"t.toml\"]\n")], "t.toml:1:12: this file is being included already")]
#[case::above(&[("t.toml", "include = [\"../t.toml\"]\n")], "t.toml:1:12: a path that leads out")]
#[case::from_the_root(&[("t.toml", "include = [\"/etc/passwd\"]\n")], "t.toml:1:12: a path that leads out")]
#[case::missing(&[("t.toml", "about = \"x\"\ninclude = [\"b.inc\", \"a.inc\"]\n"), ("b.inc", CABLE)], "t.toml:2:21: cannot include a.inc: No such file")]
#[case::a_folder(&[("t.toml", "include = [\"a\"]\n"), ("a/b", "")], "t.toml:1:12: cannot open a: it is a directory")]
#[case::a_text(&[("t.toml", "include = \"a.inc\"\n")], "t.toml:1:11: `include` is a list of file names")]
#[case::a_number(&[("t.toml", "include = [1]\n")], "t.toml:1:11: `include` is a list of file names")]
#[case::deep(&[("t.toml", "include = [\"1\"]\n"), ("1", "include = [\"2\"]\n"), ("2", "include = [\"3\"]\n"), ("3", "include = [\"4\"]\n"), ("4", CABLE)], "3:1:12: files include one another 4 deep at the most")]
fn refused(#[case] files: &[(&str, &str)], #[case] expected: &str) {
    let said = Files::of(files).read("t.toml").expect_err("it is refused");
    assert!(said.starts_with(expected) && said.contains("hint: "), "{said}");
}

#[test]
fn a_link_out_of_the_folder_is_not_followed() {
    let files = Files::of(&[("a/t.toml", "include = [\"out.inc\"]\n"), ("cable.inc", CABLE)]);
    std::os::unix::fs::symlink(files.path("cable.inc"), files.path("a/out.inc")).expect("a link");
    let said = files.read("a/t.toml").expect_err("it leads out");
    assert!(said.starts_with("a/t.toml:1:12: a link that leads out of the file's folder"), "{said}");
}

#[test]
fn a_text_without_a_folder_includes_nothing() {
    let errors = Topology::parse("t", "t.toml", "include = [\"a.inc\"]\n").expect_err("there is no folder");
    assert!(errors.lines().starts_with("t.toml:1:11: a text without a folder includes nothing"), "{errors}");
}
