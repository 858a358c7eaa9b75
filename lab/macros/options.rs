//! What is in the brackets of `#[lab::test(...)]`.

use proc_macro2::{Span, TokenStream};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Error, ExprArray, ExprLit, Lit, LitInt, LitStr, Result};

/// The longest that a body may take unless its test says otherwise, in s.
const TIMEOUT_S: u64 = 60;
/// All keys, for the message about one that is none.
const KEYS: &str = "kernels, topology, ns, timeout_s, modules, env";

/// Which kernels, and how many tests they make.
pub enum Kernels {
    /// One test, of a selection as the command line has it.
    Together(LitStr),
    /// One test for each.
    Each(Vec<LitStr>),
}

/// The options of a test.
pub struct Options {
    pub kernels: Kernels,
    pub topology: Option<LitStr>,
    pub ns: Option<LitStr>,
    pub timeout_s: u64,
    pub modules: Vec<LitStr>,
    pub env: Vec<LitStr>,
}

impl Options {
    /// Reads the options.
    pub fn parse(tokens: TokenStream) -> Result<Self> {
        let mut kernels = None;
        let (mut topology, mut ns): (Option<LitStr>, Option<LitStr>) = (None, None);
        let mut timeout_s = TIMEOUT_S;
        let (mut modules, mut env) = (Vec::new(), Vec::new());
        let mut seen = Vec::new();
        let reader = syn::meta::parser(|meta: ParseNestedMeta<'_>| {
            let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if seen.contains(&key) {
                return Err(meta.error(format!("`{key}` is there twice")));
            }
            match key.as_str() {
                "kernels" => kernels = Some(kernels_of(&meta)?),
                "topology" => topology = Some(meta.value()?.parse()?),
                "ns" => ns = Some(meta.value()?.parse()?),
                "timeout_s" => timeout_s = seconds(&meta)?,
                "modules" => modules = words(&meta.value()?.parse()?)?,
                "env" => env = words(&meta.value()?.parse()?)?,
                _ => return Err(meta.error(format!("unknown option; there are: {KEYS}"))),
            }
            seen.push(key);
            Ok(())
        });
        reader.parse2(tokens)?;
        let Some(kernels) = kernels else {
            let hint = "say which kernels: `#[lab::test(kernels = \"6.12.57\")]`, or a set such as `quick`";
            return Err(Error::new(Span::call_site(), hint));
        };
        if let (Some(ns), None) = (&ns, &topology) {
            return Err(Error::new(ns.span(), "`ns` is a namespace of a topology: give `topology` as well"));
        }
        Ok(Self { kernels, topology, ns, timeout_s, modules, env })
    }
}

fn kernels_of(meta: &ParseNestedMeta<'_>) -> Result<Kernels> {
    let value = meta.value()?;
    if value.peek(syn::token::Bracket) {
        let array: ExprArray = value.parse()?;
        let kernels = words(&array)?;
        if kernels.is_empty() {
            return Err(Error::new_spanned(array, "a test on no kernel tests nothing"));
        }
        return Ok(Kernels::Each(kernels));
    }
    Ok(Kernels::Together(value.parse()?))
}

fn seconds(meta: &ParseNestedMeta<'_>) -> Result<u64> {
    let number: LitInt = meta.value()?.parse()?;
    match number.base10_parse()? {
        0 => Err(Error::new(number.span(), "a body needs a limit: 1 or more")),
        seconds => Ok(seconds),
    }
}

fn words(array: &ExprArray) -> Result<Vec<LitStr>> {
    let word = |item: &syn::Expr| match item {
        syn::Expr::Lit(ExprLit { lit: Lit::Str(word), .. }) => Ok(word.clone()),
        other => Err(Error::new_spanned(other, "write a text: `\"...\"`")),
    };
    array.elems.iter().map(word).collect()
}
