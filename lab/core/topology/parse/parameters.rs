//! Parameters of a topology file: `[parameters]` has values for each name, and `"${name}"` stands for one of them. Each combination
//! of values is a variant, a topology of its own. A value may be a table with a `name`: `"${parameter.key}"` is what it has under
//! that key, so that a variant can say what is expected of it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::document::{Document, Part};

/// The table's key.
const KEY: &str = "parameters";
/// Values of one parameter, and variants of one file, at the most.
const VALUES_MAX: usize = 32;
const VARIANTS_MAX: usize = 128;
/// What a value that is a table is called by.
const NAME: &str = "name";
/// Of one value in a variant's name.
const WORD_CHARS_MAX: usize = 40;

/// A parameter that is set from outside, `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    name: String,
    text: String,
    /// The value as a line of TOML.
    line: String,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.text)
    }
}

/// A text that is no setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` sets nothing: write NAME=VALUE, for example miimon=100")]
pub struct SettingError(String);

impl FromStr for Setting {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.contains(['\n', '\r']) => {
                Ok(Self { name: name.to_owned(), text: value.to_owned(), line: format!("value = {value}") })
            }
            _ => Err(SettingError(text.to_owned())),
        }
    }
}

/// A value of each parameter, by name, in the order of the file; the text is what a variant is called by.
type Chosen<'i> = Vec<(String, DeValue<'i>)>;

/// One parameter.
#[derive(Debug, Clone)]
struct Parameter<'i> {
    name: String,
    span: Range<usize>,
    values: Vec<DeValue<'i>>,
    /// Whether it is part of a variant's name: it has several values, or one that was set from outside.
    is_named: bool,
}

/// The parameters of a document, after those that are set from outside.
#[derive(Debug, Default)]
pub struct Parameters<'i> {
    all: Vec<Parameter<'i>>,
    /// Whether there is such a table: without it `${...}` has no meaning.
    is_there: bool,
}

/// Takes the table out of a document. Whoever sets a parameter from outside gives it that value alone.
pub fn take<'i>(
    document: &mut Document<'i>,
    set: &'i [Setting],
    problems: &mut Vec<Diagnostic>,
) -> Parameters<'i> {
    let table = document.remove(&[Part::Key(KEY.into())]);
    let is_there = table.is_some();
    let mut all = match &table {
        Some(value) => read(value, problems),
        None => Vec::new(),
    };
    let at = table.map_or(0..0, |value| value.span());
    for setting in set {
        let Setting { name, .. } = setting;
        match all.iter_mut().find(|parameter| parameter.name == *name) {
            Some(parameter) if matches!(parameter.values[0], DeValue::Table(_)) => {
                let named = |value: &DeValue<'_>| word(value).as_ref() == Some(&setting.text);
                let known: Vec<String> = parameter.values.iter().filter_map(word).collect();
                parameter.values.retain(named);
                parameter.is_named = true;
                if parameter.values.is_empty() {
                    let message = format!("`{name}` has no value called `{}`", setting.text);
                    let hint = format!("there are: {}", known.join(", "));
                    problems.push(Diagnostic { span: parameter.span.clone(), message, hint });
                    parameter.values.push(DeValue::Boolean(false));
                }
            }
            Some(parameter) => (parameter.values, parameter.is_named) = (vec![value_of(setting)], true),
            None => {
                let known: Vec<&str> = all.iter().map(|parameter| parameter.name.as_str()).collect();
                let hint = match known[..] {
                    [] => "the file has no [parameters]".to_owned(),
                    _ => format!("there are: {}", known.join(", ")),
                };
                let message = format!("no parameter `{name}` to set");
                problems.push(Diagnostic { span: at.clone(), message, hint });
            }
        }
    }
    let count = all.iter().fold(1_usize, |count, parameter| count.saturating_mul(parameter.values.len()));
    if count > VARIANTS_MAX {
        let message = format!("{count} variants, {VARIANTS_MAX} at the most in one file");
        let hint = "give fewer values, or set some with --set NAME=VALUE".into();
        problems.push(Diagnostic { span: at, message, hint });
        all.iter_mut().for_each(|parameter| parameter.values.truncate(1));
    }
    Parameters { all, is_there }
}

fn read<'i>(table: &Spanned<DeValue<'i>>, problems: &mut Vec<Diagnostic>) -> Vec<Parameter<'i>> {
    let mut problem = |span: Range<usize>, message: String, hint: &str| {
        problems.push(Diagnostic { span, message, hint: hint.into() });
    };
    let DeValue::Table(entries) = table.get_ref() else {
        problem(
            table.span(),
            "`parameters` is a table".into(),
            "write [parameters], and below it names with values",
        );
        return Vec::new();
    };
    let mut all = Vec::new();
    for (name, value) in entries {
        let items: Vec<(Range<usize>, DeValue<'i>)> = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| (item.span(), item.get_ref().clone())).collect(),
            one => vec![(value.span(), one.clone())],
        };
        let name_is_fine = !name.get_ref().is_empty()
            && name.get_ref().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !name_is_fine {
            let message = format!("`{}` is no name of a parameter", name.get_ref());
            problem(name.span(), message, "use letters, digits and `_`");
        }
        if items.is_empty() || items.len() > VALUES_MAX {
            let message = format!("{} values of a parameter: 1 to {VALUES_MAX}", items.len());
            problem(value.span(), message, "each value is a variant, which is run for itself");
        }
        let mut words = BTreeSet::new();
        for (span, item) in &items {
            let Some(word) = word(item) else {
                problem(
                    span.clone(),
                    "a value is a number, a text, true or false, or a table with a `name`".into(),
                    "give the table a name: { name = \"none\", miimon = 0 }",
                );
                continue;
            };
            if !words.insert(word.clone()) {
                problem(
                    span.clone(),
                    format!("two values are called `{word}`"),
                    "a variant is called by its values",
                );
            }
        }
        let values: Vec<DeValue<'i>> = items
            .into_iter()
            .map(|(_, item)| item)
            .filter(|item| word(item).is_some())
            .take(VALUES_MAX)
            .collect();
        if !values.is_empty() {
            let is_named = values.len() > 1;
            all.push(Parameter { name: name.get_ref().to_string(), span: name.span(), values, is_named });
        }
    }
    all.sort_by_key(|parameter| parameter.span.start);
    all
}

/// What a value is called in a variant's name; none where it is neither a plain value nor a table with a name.
fn word(value: &DeValue<'_>) -> Option<String> {
    let text = match value {
        DeValue::Table(table) => field(table, NAME).and_then(text)?,
        plain => text(plain)?,
    };
    let tame = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '-' };
    Some(text.chars().take(WORD_CHARS_MAX).map(tame).collect())
}

fn field<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t DeValue<'i>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.get_ref())
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(is) => Some(is.to_string()),
        _ => None,
    }
}

/// The value of a text from outside: as TOML has it, and else the text itself.
fn value_of(setting: &Setting) -> DeValue<'_> {
    let table = DeTable::parse(&setting.line).map(Spanned::into_inner).unwrap_or_default();
    let values: Vec<DeValue<'_>> = table.into_iter().map(|(_, value)| value.into_inner()).collect();
    match <[DeValue<'_>; 1]>::try_from(values) {
        Ok([value]) if word(&value).is_some() => value,
        _ => DeValue::String(DeString::Borrowed(&setting.text)),
    }
}

impl<'i> Parameters<'i> {
    /// How many variants there are; 1 without parameters.
    pub fn variants(&self) -> usize {
        self.all.iter().map(|parameter| parameter.values.len()).product()
    }

    /// The values of a variant, counted from 0. The last parameter changes first.
    fn chosen(&self, variant: usize) -> Chosen<'i> {
        let mut rest = variant;
        let mut chosen: Chosen<'i> = Vec::new();
        for parameter in self.all.iter().rev() {
            let count = parameter.values.len();
            chosen.push((parameter.name.clone(), parameter.values[rest % count].clone()));
            rest /= count;
        }
        chosen.reverse();
        chosen
    }

    /// What tells a variant's name from the others': the value of each parameter that has several.
    pub fn name_suffix(&self, variant: usize) -> String {
        let chosen = self.chosen(variant);
        let named = self.all.iter().zip(&chosen).filter(|(parameter, _)| parameter.is_named);
        named.filter_map(|(_, (name, value))| Some(format!(",{name}={}", word(value)?))).collect()
    }

    /// Puts the values of a variant in for what stands for them; tells of names that no parameter has, and of parameters that
    /// nothing uses.
    pub fn put(&self, document: &mut Document<'i>, variant: usize, problems: &mut Vec<Diagnostic>) {
        if !self.is_there {
            return;
        }
        let chosen = self.chosen(variant);
        let mut used = BTreeSet::new();
        let mut putter = Putter { chosen: &chosen, used: &mut used, problems };
        putter.table(document.root_mut());
        for parameter in &self.all {
            if !used.contains(&parameter.name) {
                let message = format!("parameter `{}` is never used", parameter.name);
                let hint = format!("write \"${{{}}}\" where its value belongs, or remove it", parameter.name);
                problems.push(Diagnostic { span: parameter.span.clone(), message, hint });
            }
        }
    }
}

struct Putter<'p, 'i> {
    chosen: &'p Chosen<'i>,
    used: &'p mut BTreeSet<String>,
    problems: &'p mut Vec<Diagnostic>,
}

impl<'i> Putter<'_, 'i> {
    fn table(&mut self, table: &mut DeTable<'i>) {
        table.iter_mut().for_each(|(_, value)| self.value(value));
    }

    fn array(&mut self, items: &mut DeArray<'i>) {
        items.iter_mut().for_each(|item| self.value(item));
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'i>>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => self.array(items),
            DeValue::String(text) if text.contains("${") => {
                let text = text.to_string();
                if let Some(put) = self.text(&text, &span) {
                    *value.get_mut() = put;
                }
            }
            _ => {}
        }
    }

    /// A text that is one name alone becomes that value, of its type; in a longer one values stand as text.
    fn text(&mut self, text: &str, span: &Range<usize>) -> Option<DeValue<'i>> {
        let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = whole.filter(|name| !name.contains('}')) {
            return self.find(name, span);
        }
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else { break };
            let value = self.find(name, span)?;
            out = out + before + &self::text(&value).unwrap_or_default();
            rest = after;
        }
        Some(DeValue::String(DeString::Owned(out + rest)))
    }

    fn find(&mut self, asked: &str, span: &Range<usize>) -> Option<DeValue<'i>> {
        let (name, key) = asked.split_once('.').map_or((asked, None), |(name, key)| (name, Some(key)));
        let found = self.chosen.iter().find(|(known, _)| known == name);
        let keys: Vec<String> = match found {
            Some((_, DeValue::Table(table))) => table.keys().map(|key| key.get_ref().to_string()).collect(),
            _ => Vec::new(),
        };
        self.used.extend(found.map(|(name, _)| name.clone()));
        let value = match (found, key) {
            (Some((_, DeValue::Table(table))), Some(key)) => field(table, key).cloned(),
            (Some((_, DeValue::Table(_))), None) | (Some(_), Some(_)) | (None, _) => None,
            (Some((_, plain)), None) => Some(plain.clone()),
        };
        if value.is_none() {
            let known: Vec<&str> = self.chosen.iter().map(|(known, _)| known.as_str()).collect();
            let hint = match (found, crate::topology::nearest(name, known.iter().copied())) {
                (Some(_), _) if keys.is_empty() => format!("it is one value: write ${{{name}}}"),
                (Some(_), _) => format!("it is a table with: {}", keys.join(", ")),
                (None, Some(word)) => format!("did you mean `${{{word}}}`?"),
                (None, None) => format!("[parameters] has: {}", known.join(", ")),
            };
            let message = format!("no parameter `{asked}`");
            self.problems.push(Diagnostic { span: span.clone(), message, hint });
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::topology::Topology;

    const FILE: &str = "[parameters]\nmode = [\"active-backup\", \"balance-rr\"]\nmiimon = [0, 100]\nlen = 98\n\
        [ns.node.veth.p0]\npeer = \"far:p0\"\n[ns.node.bond.bond0]\nmode = \"${mode}\"\nmiimon = \"${miimon}\"\nports = [\"p0\"]\n\
        txqueuelen = \"${len}\"\n";

    fn names(set: &[&str]) -> Result<Vec<String>, String> {
        let set: Vec<_> = set.iter().map(|one| one.parse().expect("it is one")).collect();
        let about = format!("about = \"${{mode}} with ${{miimon}}\"\n{FILE}");
        let all = Topology::variants("t", "t.toml", &about, &set).map_err(|errors| errors.lines())?;
        Ok(all.into_iter().map(|one| format!("{} ({})", one.name, one.about.unwrap_or_default())).collect())
    }

    #[rstest]
    #[case(&[], &["t,mode=active-backup,miimon=0 (active-backup with 0)", "t,mode=active-backup,miimon=100 (active-backup with 100)",
        "t,mode=balance-rr,miimon=0 (balance-rr with 0)", "t,mode=balance-rr,miimon=100 (balance-rr with 100)"])]
    #[case(&["miimon=50"], &["t,mode=active-backup,miimon=50 (active-backup with 50)", "t,mode=balance-rr,miimon=50 (balance-rr with 50)"])]
    #[case(&["miimon=50", "mode=broadcast", "len=7"], &["t,mode=broadcast,miimon=50,len=7 (broadcast with 50)"])]
    fn each_combination_is_a_variant(#[case] set: &[&str], #[case] expected: &[&str]) {
        assert_eq!(names(set).expect("it is one"), expected);
    }

    #[test]
    fn what_is_wrong_with_one_value_is_said_where_it_is_used() {
        let said = names(&["mode=ring"]).expect_err("there is no such mode");
        assert!(said.starts_with("t.toml:9:8: "), "{said}");
        assert_eq!(said.lines().filter(|line| !line.starts_with("  hint")).count(), 1, "{said}");
        let said = names(&["policy=layer2"]).expect_err("there is no such parameter");
        assert!(
            said.contains("no parameter `policy` to set") && said.contains("mode, miimon, len"),
            "{said}"
        );
    }

    #[test]
    fn a_file_without_parameters_is_one_variant_of_its_own_name() {
        let text = "about = \"costs ${price}\"\n[ns.node.dummy.d0]\n";
        let all = Topology::variants("t", "t.toml", text, &[]).expect("it is one");
        assert_eq!((all.len(), all[0].name.as_str()), (1, "t"));
        assert_eq!(all[0].about.as_deref(), Some("costs ${price}"));
    }
}
