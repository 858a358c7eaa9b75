//! Names of kernel functions: `/proc/kallsyms`, read when the first address has to be named.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A kernel function, as `/proc/kallsyms` names it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    /// The function's name in the source: what a compiler appends (`.isra.0`, `.constprop.0`) is cut off.
    /// An address without a symbol is written in hexadecimal.
    pub function: Arc<str>,
    /// The module the function is in; `None` for the kernel itself.
    pub module: Option<Arc<str>>,
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            Some(module) => write!(f, "{} [{module}]", self.function),
            None => f.write_str(&self.function),
        }
    }
}

/// The functions of the running kernel and of its modules.
#[derive(Debug, Default)]
pub struct Symbols {
    kallsyms: String,
    /// Where each function starts, and where its line starts in `kallsyms`; by address.
    functions: Vec<(u64, u32)>,
    /// Modules and their addresses when they were read.
    modules: Vec<(String, String)>,
}

/// The symbols could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    #[error("reading {0}: {1}")]
    Read(&'static str, #[source] io::Error),
    #[error("/proc/kallsyms hides its addresses; root is needed, and kernel.kptr_restrict must not be 2")]
    Hidden,
}

impl Symbols {
    /// Reads the symbols, unless they have been read and no module has come or gone since.
    ///
    /// It takes the kernel itself longer to write its 150,000 lines than it takes to read them here.
    pub fn refresh(&mut self) -> Result<(), SymbolsError> {
        let read = |path| std::fs::read_to_string(path).map_err(|e| SymbolsError::Read(path, e));
        let modules = match read("/proc/modules") {
            // A kernel without modules has no such file.
            Err(SymbolsError::Read(_, e)) if e.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let modules = where_modules_are(&modules);
        if !self.functions.is_empty() && modules == self.modules {
            return Ok(());
        }
        *self = Self::parse(read("/proc/kallsyms")?)?;
        self.modules = modules;
        Ok(())
    }

    fn parse(kallsyms: String) -> Result<Self, SymbolsError> {
        let mut functions = Vec::new();
        let mut at = 0;
        for line in kallsyms.split_inclusive('\n') {
            if let Some(start) = function_start(line) {
                functions.push((start, at));
            }
            at += line.len() as u32;
        }
        // The kernel's own are in order already, which a stable sort makes use of; modules come as loaded.
        functions.sort_by_key(|(start, _)| *start);
        if functions.last().is_none_or(|(start, _)| *start == 0) {
            return Err(SymbolsError::Hidden);
        }
        Ok(Self { kallsyms, functions, modules: Vec::new() })
    }

    /// The function an address lies in: the one that starts last at or before it.
    pub fn get(&self, address: u64) -> Symbol {
        let after = self.functions.partition_point(|(start, _)| *start <= address);
        after
            .checked_sub(1)
            .and_then(|i| symbol(&self.kallsyms[self.functions[i].1 as usize..]))
            .unwrap_or_else(|| Symbol { function: format!("{address:#x}").into(), module: None })
    }
}

/// Name and address of each line of `/proc/modules`: between them is a count of users, which changes with every link.
fn where_modules_are(modules: &str) -> Vec<(String, String)> {
    let words = modules.lines().map(|line| line.split_ascii_whitespace());
    let ends = words.filter_map(|mut words| {
        Some((words.next()?.to_owned(), words.find(|w| w.starts_with("0x"))?.to_owned()))
    });
    ends.collect()
}

/// The address of a line that names a function (`t`, `T`, `w`, `W`): `ffffffff81000000 T _text`.
fn function_start(line: &str) -> Option<u64> {
    const ADDRESS_DIGITS: usize = 16;
    if !matches!(line.as_bytes().get(ADDRESS_DIGITS + 1)?, b't' | b'T' | b'w' | b'W') {
        return None;
    }
    u64::from_str_radix(line.get(..ADDRESS_DIGITS)?, 16).ok()
}

/// The symbol of the first of these lines.
fn symbol(lines: &str) -> Option<Symbol> {
    let mut words = lines.lines().next()?.split_ascii_whitespace().skip(2);
    let name = words.next()?;
    let module = words.next().map(|m| m.trim_matches(['[', ']']).into());
    let function = name.split('.').next().filter(|f| !f.is_empty());
    Some(Symbol { function: function.unwrap_or(name).into(), module })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_in_use_is_the_same_module() {
        let idle =
            "bonding 241664 0 - Live 0xffffffffc0401000\ntls 1 0 bonding, Live 0xffffffffc03d6000 (E)\n";
        let busy = idle.replace("241664 0", "241664 2");
        assert_eq!(where_modules_are(idle), where_modules_are(&busy));
        assert_eq!(where_modules_are(idle).len(), 2);
        assert_ne!(where_modules_are(idle), where_modules_are(&idle.replace("c0401", "c0501")));
    }

    const KALLSYMS: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000100 t bond_tx_drop.isra.0
ffffffff81000100 d not_a_function
ffffffff81000180 d a_variable
ffffffff81000200 W kfree_skb
ffffffffc0001000 t bond_start_xmit\t[bonding]
ffffffffc0000000 t vlan_dev_hard_start_xmit\t[8021q]
";

    #[test]
    fn an_address_belongs_to_the_function_that_starts_before_it() {
        let symbols = Symbols::parse(KALLSYMS.to_owned()).expect("addresses are shown");
        for (address, expected) in [
            (0xffff_ffff_8100_0000, "_text"),
            (0xffff_ffff_8100_00ff, "_text"),
            (0xffff_ffff_8100_01f0, "bond_tx_drop"),
            (0xffff_ffff_8100_0200, "kfree_skb"),
            (0xffff_ffff_c000_0fff, "vlan_dev_hard_start_xmit [8021q]"),
            (0xffff_ffff_c000_1fff, "bond_start_xmit [bonding]"),
            (0x1000, "0x1000"),
        ] {
            assert_eq!(symbols.get(address).to_string(), expected, "{address:#x}");
        }
    }

    #[test]
    fn hidden_addresses_are_an_error() {
        for hidden in ["", "0000000000000000 T _text\n0000000000000000 t kfree_skb\n"] {
            let read = Symbols::parse(hidden.to_owned());
            assert!(matches!(read, Err(SymbolsError::Hidden)), "{hidden}");
        }
    }
}
