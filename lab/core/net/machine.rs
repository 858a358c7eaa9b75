//! The machine that a topology runs in: processors, words of the kernel command line, parameters of modules, and modules left
//! out.

use std::fmt;
use std::str::FromStr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a topology asks of its machine; nothing in most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// Processors; `None` is one.
    pub cpus: Option<u8>,
    /// Words after the lab's own on the kernel command line.
    pub cmdline: Vec<KernelWord>,
    /// Parameters of modules, by module and parameter.
    pub modules: IndexMap<ModuleName, IndexMap<ModuleName, KernelWord>>,
    /// Modules that are not put into the machine.
    pub without_modules: Vec<ModuleName>,
}

impl Machine {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Parameters of modules as words of the kernel command line, `module.parameter=value`: a module that is built in finds
    /// them there, and the guest's init passes them to one that it loads.
    pub fn parameters(&self) -> impl Iterator<Item = String> {
        let all = self.modules.iter();
        all.flat_map(|(module, all)| all.iter().map(move |(name, value)| format!("{module}.{name}={value}")))
    }

    /// Everything that is added to the kernel command line.
    pub fn words(&self) -> Vec<String> {
        self.cmdline.iter().map(ToString::to_string).chain(self.parameters()).collect()
    }
}

/// A word of the kernel command line, or a parameter's value: printable, without white space and quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct KernelWord(String);

/// COMMAND_LINE_SIZE is 2048, and the lab has words of its own there.
const WORD_BYTES_MAX: usize = 256;

impl KernelWord {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before the `=`; the kernel takes `-` for `_` there (`parameq()`).
    pub fn key(&self) -> String {
        self.0.split('=').next().unwrap_or_default().replace('-', "_")
    }
}

impl FromStr for KernelWord {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
        if (1..=WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
            Ok(Self(text.into()))
        } else {
            Err("it is no word of a kernel command line: 1 to 256 printable characters without white space and quotes".into())
        }
    }
}

impl TryFrom<String> for KernelWord {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<KernelWord> for String {
    fn from(word: KernelWord) -> Self {
        word.0
    }
}

impl fmt::Display for KernelWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A module's name or a parameter's, with `_` for `-` as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ModuleName(String);

/// MODULE_NAME_LEN of a 64-bit kernel, with its end.
const MODULE_NAME_MAX: usize = 55;

impl ModuleName {
    /// With `_`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModuleName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if (1..=MODULE_NAME_MAX).contains(&text.len()) && text.bytes().all(is_letter) {
            Ok(Self(text.replace('-', "_")))
        } else {
            Err(format!(
                "`{text}` is no name of a module or parameter: write it as modinfo does, such as `bonding`"
            ))
        }
    }
}

impl TryFrom<String> for ModuleName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> Self {
        name.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a module's parameter as a file has it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number, true or false, or a text is expected")]
pub enum ParameterValue {
    /// true or false: `Y` or `N`.
    Flag(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(KernelWord),
}

impl ParameterValue {
    /// As the kernel shows it.
    pub fn word(&self) -> KernelWord {
        match self {
            Self::Flag(on) => KernelWord(if *on { "Y" } else { "N" }.into()),
            Self::Number(number) => KernelWord(number.to_string()),
            Self::Text(word) => word.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_command_line_is_one_word() {
        assert_eq!("ipv6.disable=1".parse::<KernelWord>().unwrap().key(), "ipv6.disable");
        assert_eq!("loglevel-x=7".parse::<KernelWord>().unwrap().key(), "loglevel_x");
        for wrong in ["", "a b", "a\"b", "a\nb", "a\\b", "ä", &"x".repeat(257)] {
            assert!(wrong.parse::<KernelWord>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn parameters_are_words_of_the_command_line() {
        let mut machine = Machine::default();
        let name = |text: &str| text.parse::<ModuleName>().unwrap();
        let max_bonds = [(name("max-bonds"), ParameterValue::Number(2).word())];
        machine.modules.insert(name("bonding"), max_bonds.into_iter().collect());
        machine.cmdline.push("quiet".parse().unwrap());
        assert_eq!(machine.words(), ["quiet", "bonding.max_bonds=2"]);
    }
}
