//! A topology file being written: tables with comments, in order.

use toml::Value;

/// One table.
#[derive(Debug, Clone)]
pub struct Section {
    /// Lines above it, without `#`.
    pub comments: Vec<String>,
    /// `[ns.node.bond.bond0]`, `[[step]]`.
    pub header: String,
    /// Keys and values.
    pub entries: Vec<(&'static str, Value)>,
}

impl Section {
    /// A table by the parts of its name.
    pub fn table(parts: &[&str]) -> Self {
        let parts: Vec<String> = parts.iter().map(|part| key(part)).collect();
        Self { comments: Vec::new(), header: format!("[{}]", parts.join(".")), entries: Vec::new() }
    }

    /// An item of an array of tables.
    pub fn item(parts: &[&str]) -> Self {
        let table = Self::table(parts);
        Self { header: format!("[{}]", table.header), ..table }
    }

    /// With a line above it.
    pub fn comment(mut self, text: impl Into<String>) -> Self {
        self.comments.push(text.into());
        self
    }

    /// With a value.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.entries.push((name, value.into()));
        self
    }

    /// With a value, if there is one.
    pub fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// A file.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Comment at the head, without `#`.
    pub head: Vec<String>,
    /// In plain words.
    pub about: String,
    /// An id of kernels.toml.
    pub kernel: Option<String>,
    /// In order.
    pub sections: Vec<Section>,
}

impl Draft {
    /// Adds a table.
    pub fn push(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.head.iter().for_each(|line| comment(line, &mut out));
        out.push('\n');
        out += &format!("about = {}\n", Value::from(self.about.as_str()));
        if let Some(kernel) = &self.kernel {
            out += &format!("kernel = {}\n", Value::from(kernel.as_str()));
        }
        for section in &self.sections {
            out.push('\n');
            section.comments.iter().for_each(|line| comment(line, &mut out));
            out += &section.header;
            out.push('\n');
            for (name, value) in &section.entries {
                out += &format!("{name} = {value}\n");
            }
        }
        out
    }
}

/// A comment of as many lines as it takes: no text of a report can leave it.
fn comment(text: &str, out: &mut String) {
    let text = crate::net::clean::line(text);
    let indent = text.len() - text.trim_start().len();
    let mut line = format!("#{}", " ".repeat(indent + 1));
    let empty = line.len();
    for word in text.split_whitespace() {
        if line.len() > empty && line.len() + word.len() > 118 {
            *out += line.trim_end();
            out.push('\n');
            line = format!("#{}", " ".repeat(indent + 3));
        } else if line.len() > empty {
            line.push(' ');
        }
        line += word;
    }
    *out += line.trim_end();
    out.push('\n');
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    // A key is one line; a value of several lines would not be. JSON escapes as TOML does, but leaves DEL.
    let quoted = || serde_json::Value::from(name).to_string().replace('\u{7f}', "\\u007f");
    if is_bare { name.to_owned() } else { quoted() }
}

/// A list of texts.
pub fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    Value::Array(items.into_iter().map(|item| Value::String(item.to_string())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_report_stays_in_its_comment_and_its_value() {
        let evil = "a\n[ns.x]\u{1b}[2J \"\"\" ''' \\";
        let draft = Draft {
            head: vec![evil.into()],
            about: evil.into(),
            kernel: None,
            sections: vec![Section::table(&["ns", "node", "vlan", evil]).comment(evil).with("parent", evil)],
        };
        let table: toml::Table = draft.text().parse().expect("it is TOML");
        assert_eq!(table.keys().collect::<Vec<_>>(), ["about", "ns"]);
        assert_eq!(table["ns"]["node"]["vlan"][evil]["parent"].as_str(), Some(evil));
    }
}
