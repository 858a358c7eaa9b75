//! Arguments and exit codes only.
fn main() {}
