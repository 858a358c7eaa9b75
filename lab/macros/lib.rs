//! The attribute `#[lab::test]`; the crate `bondlab` exports it.

mod expand;
mod options;

use proc_macro::TokenStream;

/// Makes a test whose body runs as root in a guest, on each of the kernels that it names.
///
/// ```ignore
/// #[lab::test(kernels = "quick", topology = "tests/bond.toml", ns = "node")]
/// fn the_bond_has_carrier() {
///     assert_eq!(std::fs::read_to_string("/sys/class/net/bond0/carrier").unwrap(), "1\n");
/// }
/// ```
///
/// | option | |
/// |---|---|
/// | `kernels = "quick"` | a version, a set, a range, or several with commas: one test that goes through all of them |
/// | `kernels = ["6.1.192", "6.12.57"]` | one test for each, called `NAME_on_6_1_192` |
/// | `topology = "FILE"` | is set up, without its steps and faults; a path from the package's folder |
/// | `ns = "NAME"` | the namespace of the topology that the body is in; needed where it has several |
/// | `timeout_s = 60` | the longest that the body may take; 60 without it |
/// | `modules = ["wireguard"]` | kernel modules besides those that every guest has |
/// | `env = ["NAME", "NAME=VALUE"]` | more variables for the body |
///
/// The test program itself is brought into the guest, dynamic or static, with the host's files around it, read-only. What the body
/// prints, a panic, an exit and a time-out are reported as the test's. A body that did not run to its end is a failure. A kernel
/// that is not to be had is a skip with its reason, and a failure with `CI` set.
///
/// The body may return what `main` may return. With rstest, `#[rstest]` comes first.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(options.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}
