//! JSON with the place of each value, read on after a mistake: what people paste has more than one.

use std::ops::Range;

use crate::net::clean::is_unsafe;
use crate::topology::cni::tree::{Mistake, Tree};
use crate::topology::file::At;

/// Objects in objects, at the most; the deepest a plugin reads is four.
const DEPTH_MAX: usize = 32;

/// Reads a text. The tree is there as far as the text could be understood; every mistake has its place.
pub fn parse(text: &str) -> (Option<At<Tree>>, Vec<Mistake>) {
    let mut parser = Parser { text, at: 0, mistakes: Vec::new() };
    let tree = parser.value(0);
    parser.skip_space();
    if tree.is_some() && parser.at < text.len() {
        parser.mistake(parser.at..text.len(), "something follows the end of the configuration", "remove it");
    }
    (tree, parser.mistakes)
}

/// A configuration as a runtime hands it to a plugin: with the name and version the specification asks for, and
/// without the lab's own keys.
pub fn for_plugin(name: &str, tree: &Tree) -> String {
    let serde_json::Value::Object(mut object) = value_of(tree) else { return String::new() };
    for own in ["resource", "plugin"] {
        object.remove(own);
    }
    object.entry("name").or_insert_with(|| name.into());
    object.entry("cniVersion").or_insert_with(|| "0.4.0".into());
    serde_json::Value::Object(object).to_string()
}

fn value_of(tree: &Tree) -> serde_json::Value {
    match tree {
        Tree::Null => serde_json::Value::Null,
        Tree::Bool(value) => (*value).into(),
        Tree::Int(value) => (*value).into(),
        Tree::Other(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
        Tree::Text(text) => text.as_str().into(),
        Tree::List(items) => items.iter().map(|item| value_of(&item.value)).collect(),
        Tree::Table(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.value.clone(), value_of(&value.value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    mistakes: Vec<Mistake>,
}

impl Parser<'_> {
    fn mistake(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.mistakes.push(Mistake { span, message: message.into(), hint: hint.into() });
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Where the character here ends: a mistake never cuts one in two.
    fn one_character(&self) -> Range<usize> {
        let len = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        self.at..self.at + len
    }

    /// One value; `None` when nothing more can be understood. What is wrong was reported.
    fn value(&mut self, depth: usize) -> Option<At<Tree>> {
        self.skip_space();
        let start = self.at;
        if depth > DEPTH_MAX {
            self.mistake(self.one_character(), "too many objects in one another", "no plugin reads so deep");
            return None;
        }
        let value = match self.peek() {
            None => {
                self.mistake(start..start, "the configuration ends too early", "a value is missing here");
                return None;
            }
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Tree::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() => self.word(),
            Some(_) => {
                let span = self.one_character();
                let message = format!("`{}` begins no value", &self.text[span.clone()]);
                self.mistake(span, message, "a string is written in double quotes");
                return None;
            }
        };
        Some(At { value, span: start..self.at })
    }

    fn object(&mut self, depth: usize) -> Option<Tree> {
        let open = self.one_character();
        self.at += 1;
        let mut entries: Vec<(At<String>, At<Tree>)> = Vec::new();
        let mut comma: Option<Range<usize>> = None;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'}') => {
                    self.trailing(comma);
                    self.at += 1;
                    return Some(Tree::Table(entries));
                }
                None => {
                    self.mistake(open, "this `{` is never closed", "write `}` at its end");
                    return Some(Tree::Table(entries));
                }
                Some(b'"') => {}
                Some(_) => {
                    self.mistake(
                        self.one_character(),
                        "a key is expected here",
                        "keys are written in double quotes",
                    );
                    return None;
                }
            }
            if let Some((_, last)) = entries.last().filter(|_| comma.is_none()) {
                self.missing_comma(last.span.clone());
            }
            let key_start = self.at;
            let key = self.string()?;
            let key = At { value: key, span: key_start..self.at };
            self.skip_space();
            if self.peek() == Some(b':') {
                self.at += 1;
            } else {
                self.mistake(key.span.clone(), "a colon is missing after this key", "write `\"key\": value`");
            }
            let value = self.value(depth + 1)?;
            if entries.iter().any(|(earlier, _)| earlier.value == key.value) {
                let message = format!("`{}` is there twice", key.value);
                self.mistake(key.span.clone(), message, "a plugin takes the last one: keep one");
                entries.retain(|(earlier, _)| earlier.value != key.value);
            }
            entries.push((key, value));
            comma = self.comma();
        }
    }

    fn array(&mut self, depth: usize) -> Option<Tree> {
        let open = self.one_character();
        self.at += 1;
        let mut items: Vec<At<Tree>> = Vec::new();
        let mut comma: Option<Range<usize>> = None;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b']') => {
                    self.trailing(comma);
                    self.at += 1;
                    return Some(Tree::List(items));
                }
                None | Some(b'}') => {
                    self.mistake(open, "this `[` is never closed", "write `]` at its end");
                    return Some(Tree::List(items));
                }
                Some(_) => {}
            }
            if let Some(last) = items.last().filter(|_| comma.is_none()) {
                self.missing_comma(last.span.clone());
            }
            items.push(self.value(depth + 1)?);
            comma = self.comma();
        }
    }

    fn comma(&mut self) -> Option<Range<usize>> {
        self.skip_space();
        (self.peek() == Some(b',')).then(|| {
            self.at += 1;
            self.at - 1..self.at
        })
    }

    fn missing_comma(&mut self, after: Range<usize>) {
        let text = &self.text[after.clone()];
        let hint = if text.len() <= 40 && !text.contains('\n') {
            format!("write `{text},`")
        } else {
            "write a comma behind it".into()
        };
        self.mistake(after, "a comma is missing after this value", hint);
    }

    fn trailing(&mut self, comma: Option<Range<usize>>) {
        if let Some(comma) = comma {
            self.mistake(comma, "a comma with nothing after it", "JSON has no comma after the last entry");
        }
    }

    /// The text between two quotes; the first is here.
    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(b'\\') if self.at + 1 < self.text.len() => {
                    self.at += 1;
                    self.at = self.one_character().end;
                }
                Some(b'\n') | None | Some(b'\\') => {
                    self.mistake(start..self.at, "this text has no end", "write `\"` behind it");
                    return None;
                }
                Some(_) => self.at = self.one_character().end,
            }
        }
        let written = &self.text[start..self.at];
        match serde_json::from_str(written) {
            Ok(text) => {
                let text: String = text;
                if let Some(c) = text.chars().find(|c| is_unsafe(*c) && !matches!(c, '\n' | '\r' | '\t')) {
                    let message = format!("a text with the character U+{:04X}", u32::from(c));
                    self.mistake(start..self.at, message, "remove it: no name or address has it");
                }
                Some(text)
            }
            Err(_) => {
                self.mistake(
                    start..self.at,
                    "this text has an escape that JSON does not know",
                    "write `\\\\` for `\\`",
                );
                Some(written.trim_matches('"').to_owned())
            }
        }
    }

    fn number(&mut self) -> Tree {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        match (text.parse(), serde_json::from_str::<serde_json::Number>(text)) {
            (Ok(number), Ok(_)) => Tree::Int(number),
            (_, Ok(_)) => Tree::Other(text.into()),
            _ => {
                let message = format!("`{text}` is not a number");
                self.mistake(start..self.at, message, "a string is written in double quotes");
                Tree::Other(String::new())
            }
        }
    }

    fn word(&mut self) -> Tree {
        let start = self.at;
        while matches!(self.peek(), Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        {
            self.at += 1;
        }
        match &self.text[start..self.at] {
            "true" => Tree::Bool(true),
            "false" => Tree::Bool(false),
            "null" => Tree::Null,
            text => {
                let message = format!("`{text}` is not a value");
                let text = text.to_owned();
                self.mistake(start..self.at, message, "a string is written in double quotes");
                Tree::Text(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<(String, String)> {
        let found = parse(text).1.into_iter();
        found.map(|mistake| (text[mistake.span].to_owned(), mistake.message)).collect()
    }

    fn said(text: &str) -> Vec<String> {
        mistakes(text).into_iter().map(|(place, message)| format!("{place}: {message}")).collect()
    }

    #[test]
    fn what_is_right_is_read() {
        let (tree, mistakes) = parse(r#" {"a": [1, -2.5, "x\n", true], "b": {}, "c": null} "#);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let Tree::Table(entries) = tree.expect("it is JSON").value else { panic!("an object") };
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.value.as_str()).collect();
        assert_eq!(keys, ["a", "b", "c"]);
        let Tree::List(items) = &entries[0].1.value else { panic!("a list") };
        let values: Vec<Tree> = items.iter().map(|item| item.value.clone()).collect();
        assert_eq!(
            values,
            [Tree::Int(1), Tree::Other("-2.5".into()), Tree::Text("x\n".into()), Tree::Bool(true)]
        );
    }

    /// As in the StarlingX documentation of the bond CNI plugin.
    #[test]
    fn a_missing_comma_is_reported_where_it_is_missing() {
        let text = "{\n \"type\": \"sriov\",\n \"vlan\": 1350\n \"spoofchk\": \"off\"\n}";
        assert_eq!(said(text), ["1350: a comma is missing after this value"]);
        let Some(At { value: Tree::Table(entries), .. }) = parse(text).0 else { panic!("it is read on") };
        assert_eq!(entries.len(), 3);
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        assert_eq!(
            said(r#"{"a" 1, "b": off "c": [1 2,], "a": 01x, }"#),
            [
                "\"a\": a colon is missing after this key",
                "off: `off` is not a value",
                "off: a comma is missing after this value",
                "1: a comma is missing after this value",
                ",: a comma with nothing after it",
                "01x: `01x` is not a number",
                "\"a\": `a` is there twice",
                ",: a comma with nothing after it",
            ]
        );
    }

    #[test]
    fn what_ends_too_early_is_reported() {
        for (text, expected) in [
            ("", ": the configuration ends too early"),
            ("{", "{: this `{` is never closed"),
            ("[1", "[: this `[` is never closed"),
            ("{\"a", "\"a: this text has no end"),
            ("{\"a\":", ": the configuration ends too early"),
            ("{} x", "x: something follows the end of the configuration"),
            ("{a: 1}", "a: a key is expected here"),
            ("{\"a\": \u{e4}}", "\u{e4}: `\u{e4}` begins no value"),
        ] {
            assert_eq!(said(text), [expected], "{text}");
        }
    }

    #[test]
    fn no_text_does_harm() {
        let text = "{\"a\": [1, {\"b\": \"\u{e4}\\u00e4\"}], \"c\": -1.5e3}";
        for (end, _) in text.char_indices() {
            parse(&text[..end]);
            parse(&text[end..]);
        }
        parse(&"[".repeat(10_000));
        parse(&"{\"a\":".repeat(10_000));
    }
}
