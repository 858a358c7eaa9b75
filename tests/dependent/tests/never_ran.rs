//! A test program that does not know the test it is asked for, and ends with status 0.

use lab::__guest_test::{GuestTest, run};

fn main() {
    if std::env::args().any(|word| word == "--exact") {
        return;
    }
    let test = GuestTest {
        module: module_path!(),
        name: "nobody_knows_it",
        package_dir: env!("CARGO_MANIFEST_DIR"),
        kernels: "6.12.57",
        topology: None,
        ns: None,
        timeout_s: 60,
        modules: &[],
        env: &[],
    };
    run(&test, || -> () { unreachable!("it is not run on the host") });
}
