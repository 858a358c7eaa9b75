//! Arguments and exit codes only.

fn main() {
    if std::process::id() == 1 {
        lab::guest::init::run(lab::guest::selftest::serve);
    }
}
