//! The page of the kernel's own selftests is what was measured, and each cell that is no pass has its reason.

use std::fs;
use std::path::Path;

use bondlab_core::report::selftests::Results;
use bondlab_core::report::selftests::page::{page, unexplained};
use bondlab_host::kernel::pins::{KernelPin, Kernels};

fn results() -> Results {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/selftests.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the results")).expect("results of `lab selftests`")
}

#[test]
fn the_page_is_made_of_the_results() {
    let results = results();
    let kernels = Kernels::built_in().expect("a unit test reads it too");
    let names: Vec<String> = kernels
        .pins()
        .map(KernelPin::name)
        .filter(|name| results.runs.iter().any(|run| run.kernel == *name))
        .collect();
    let made = page(&results, &names);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/selftests.md");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &made).expect("the page");
    }
    let kept = fs::read_to_string(&path).expect("the page");
    assert_eq!(kept, made, "`lab report selftests tests/data/selftests.json > docs/selftests.md` makes it");
}

#[test]
fn each_cell_that_is_no_pass_has_a_reason() {
    assert_eq!(unexplained(&results()), Vec::<String>::new());
}
