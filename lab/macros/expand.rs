//! From a function with `#[lab::test]` to tests of the usual kind.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Error, ItemFn, LitStr, Result};

use crate::options::{Kernels, Options};

/// Expands one test.
pub fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options)?;
    let function: ItemFn = syn::parse2(item)?;
    check(&function)?;
    let (name, attributes) = (&function.sig.ident, &function.attrs);
    let (body, output) = (&function.block, &function.sig.output);
    let body = quote! { fn body() #output #body };
    Ok(match &options.kernels {
        Kernels::Together(kernels) => test(name, attributes, kernels, &options, &body),
        Kernels::Each(kernels) => {
            let tests = kernels.iter().map(|kernel| {
                let version = kernel.value().replace(|c: char| !c.is_alphanumeric(), "_");
                test(&format_ident!("{name}_on_{version}"), attributes, kernel, &options, &body)
            });
            quote! { #(#tests)* }
        }
    })
}

fn check(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness {
        let hint = "a body is not async: build a runtime in it, and block on what it has to do";
        return Err(Error::new_spanned(word, hint));
    }
    if !signature.inputs.is_empty() {
        let hint = "a body takes no arguments; with rstest, `#[rstest]` comes before `#[lab::test]`";
        return Err(Error::new_spanned(&signature.inputs, hint));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "a test is not generic"));
    }
    // A guest that died, or that was never started, would be a pass.
    if let Some(attribute) = function.attrs.iter().find(|attribute| attribute.path().is_ident("should_panic"))
    {
        let hint =
            "what panics in a guest cannot be told from a guest that failed: use `catch_unwind` in the body";
        return Err(Error::new_spanned(attribute, hint));
    }
    Ok(())
}

fn test(
    name: &Ident,
    attributes: &[Attribute],
    kernels: &LitStr,
    options: &Options,
    body: &TokenStream,
) -> TokenStream {
    let Options { topology, ns, timeout_s, modules, env, .. } = options;
    let topology = optional(topology.as_ref());
    let ns = optional(ns.as_ref());
    let name_text = name.to_string();
    quote! {
        #(#attributes)*
        #[::core::prelude::v1::test]
        fn #name() {
            #body
            ::lab::__guest_test::run(
                &::lab::__guest_test::GuestTest {
                    module: ::core::module_path!(),
                    name: #name_text,
                    package_dir: ::core::env!("CARGO_MANIFEST_DIR"),
                    kernels: #kernels,
                    topology: #topology,
                    ns: #ns,
                    timeout_s: #timeout_s,
                    modules: &[#(#modules),*],
                    env: &[#(#env),*],
                },
                body,
            );
        }
    }
}

fn optional(text: Option<&LitStr>) -> TokenStream {
    match text {
        Some(text) => quote! { ::core::option::Option::Some(#text) },
        None => quote! { ::core::option::Option::None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the compiler says of a wrong test.
    fn error(options: &str, item: &str) -> String {
        let tokens = |text: &str| text.parse::<TokenStream>().unwrap();
        expand(tokens(options), tokens(item)).expect_err("it is wrong").to_string()
    }

    #[test]
    fn wrong_tests_are_refused_with_a_hint() {
        let item = "fn f() {}";
        for (options, item, expected) in [
            ("", item, "say which kernels"),
            ("kernel = \"6.12.57\"", item, "unknown option; there are: kernels, topology"),
            ("kernels = 6", item, "expected string literal"),
            ("kernels = []", item, "tests nothing"),
            ("kernels = [6]", item, "write a text"),
            ("kernels = \"quick\", kernels = \"all\"", item, "twice"),
            ("kernels = \"quick\", timeout_s = 0", item, "needs a limit"),
            ("kernels = \"quick\", ns = \"node\"", item, "give `topology`"),
            ("kernels = \"quick\"", "async fn f() {}", "build a runtime"),
            ("kernels = \"quick\"", "fn f(x: u8) {}", "`#[rstest]` comes before"),
            ("kernels = \"quick\"", "fn f<T>() {}", "not generic"),
            ("kernels = \"quick\"", "#[should_panic] fn f() {}", "catch_unwind"),
            ("kernels = \"quick\"", "struct F;", "expected"),
        ] {
            let said = error(options, item);
            assert!(said.contains(expected), "{options} {item}: {said}");
        }
    }

    #[test]
    fn a_list_of_kernels_is_a_test_for_each() {
        let options = "kernels = [\"6.1.192\", \"6.12.57/generic\"]".parse().unwrap();
        let tests = expand(options, "fn f() {}".parse().unwrap()).unwrap().to_string();
        assert!(
            tests.contains("fn f_on_6_1_192 ()") && tests.contains("fn f_on_6_12_57_generic ()"),
            "{tests}"
        );
    }
}
