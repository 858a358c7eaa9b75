//! Text from outside on its way in: what would move a cursor, begin a line or turn the direction of writing is spelt out.
//!
//! A guest, a file, a mirror and another program can say anything, and what they say is shown on terminals and in
//! reports. Their text is cleaned where it is read, so that no renderer has to: [`line`] for a text that is to stay in one
//! line, [`lines`] where line ends are the text's own, [`json`] for a document before it is parsed. Cleaned text stays as it
//! is when it is cleaned again.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal, or whoever reads lines, might take a character for more than a sign: control characters (C0, DEL
/// and C1, which has a CSI of one character), line and paragraph next_checks, marks and overrides of the direction (UAX #9),
/// and signs that cannot be seen.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// A text as one line.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    spelt_out(text, is_unsafe)
}

/// A text with its line ends and tabs, and nothing else that is unsafe. `\r\n` is a line end.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c| is_unsafe(c) && !matches!(c, '\n' | '\t');
    if text.contains("\r\n") {
        return Cow::Owned(spelt_out(&text.replace("\r\n", "\n"), is_unsafe).into_owned());
    }
    spelt_out(text, is_unsafe)
}

/// What another program wrote, which need not be text.
#[must_use]
pub fn output(bytes: &[u8]) -> String {
    lines(&String::from_utf8_lossy(bytes)).into_owned()
}

/// A JSON document each of whose strings, names of fields too, is one line; only texts of the fields `multiline` keep their
/// line ends and tabs. What is no JSON stays none.
#[must_use]
pub fn json<'a>(text: &'a str, multiline: &[&str]) -> Cow<'a, str> {
    let is_clean = |c: char| c != '\\' && (!is_unsafe(c) || matches!(c, '\n' | '\r' | '\t'));
    if text.chars().all(is_clean) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    // Where the string that is being read begins in `out`, the one before it, and the field whose value comes.
    let (mut string, mut last, mut field) = (None, String::new(), String::new());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        let keeps_lines = multiline.contains(&field.as_str());
        match (c, string) {
            ('"', None) => string = Some(out.len() + 1),
            ('"', Some(begin)) => {
                last = out[begin..].to_owned();
                string = None;
            }
            (':', None) => field = std::mem::take(&mut last),
            (',' | '{' | '}' | ']', None) => field.clear(),
            _ => {}
        }
        match c {
            '\\' if string.is_some() => taken = escape_sequence(rest, keeps_lines, &mut out),
            c if string.is_some() && is_unsafe(c) => spell_in_json(c, &mut out),
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    Cow::Owned(out)
}

fn spelt_out(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn spell_in_json(c: char, out: &mut String) {
    let _ = write!(out, "\\\\{}", &c.escape_default().to_string()[1..]);
}

/// Copies the escape sequence at the beginning of `rest`, or spells out what it stands for. Returns how many bytes it has.
fn escape_sequence(rest: &str, keeps_lines: bool, out: &mut String) -> usize {
    let (taken, meant) = match rest.as_bytes().get(1) {
        Some(b'n') => (2, Some('\n')),
        Some(b'r') => (2, Some('\r')),
        Some(b't') => (2, Some('\t')),
        Some(b'b') => (2, Some('\u{8}')),
        Some(b'f') => (2, Some('\u{c}')),
        Some(b'u') => match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                (12, char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)))
            }
            (Some(unit), _) => (6, char::from_u32(unit)),
            (None, _) => (2, None),
        },
        Some(_) if rest.is_char_boundary(2) => (2, None),
        _ => (1, None),
    };
    match meant {
        Some('\n' | '\t') if keeps_lines => out.push_str(&rest[..taken]),
        Some(c) if is_unsafe(c) => spell_in_json(c, out),
        _ => out.push_str(&rest[..taken]),
    }
    taken
}

/// The number in `\uXXXX`.
fn unit(rest: &str) -> Option<u32> {
    let digits = rest.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What is said, and how it is shown in a line.
    const CASES: [(&str, &str); 14] = [
        ("plain, ünïcode, \u{1f600}", "plain, ünïcode, \u{1f600}"),
        ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
        ("a\nok 1 - forged", "a\\nok 1 - forged"),
        ("a\r\nb\rc", "a\\r\\nb\\rc"),
        ("a\tb", "a\\tb"),
        ("nul \0", "nul \\u{0}"),
        ("\u{8}\u{c}", "\\u{8}\\u{c}"),
        ("del \u{7f}", "del \\u{7f}"),
        ("csi \u{9b}31m", "csi \\u{9b}31m"),
        ("nel \u{85}", "nel \\u{85}"),
        ("\u{202e}desrever\u{2066}", "\\u{202e}desrever\\u{2066}"),
        ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
        ("\u{feff}\u{200b}", "\\u{feff}\\u{200b}"),
        ("\u{e0041}tag", "\\u{e0041}tag"),
    ];

    #[test]
    fn whatever_moves_a_cursor_or_begins_a_line_is_spelt_out() {
        for (said, shown) in CASES {
            assert_eq!(line(said), shown);
            assert_eq!(line(shown), shown, "cleaned twice");
            assert!(!shown.contains(is_unsafe), "{shown}");
        }
        assert_eq!(lines("a\r\nb\n\tc\rd\u{1b}"), "a\nb\n\tc\\rd\\u{1b}");
        assert_eq!(output(b"a\xff\x1b\n"), "a\u{fffd}\\u{1b}\n");
    }

    #[test]
    fn json_says_the_same_as_its_strings_do() {
        for (said, shown) in CASES {
            // As serde writes it, as escapes only, and as raw as JSON allows.
            let all: String = said.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let raw: String =
                said.chars().filter(|c| u32::from(*c) >= 0x20).map(String::from).collect::<String>();
            let by_serde = serde_json::to_string(said).unwrap();
            for text in [by_serde, format!("\"{all}\"")] {
                let document = format!("{{ \"k\":\n\t[{text}, 1] }}");
                let parsed: Value = serde_json::from_str(&json(&document, &[])).unwrap();
                assert_eq!(parsed["k"][0], shown, "{document}");
            }
            let parsed: Value = serde_json::from_str(&json(&format!("\"{raw}\""), &[])).unwrap();
            assert_eq!(parsed, Value::from(line(&raw)));
            let name: Value = serde_json::from_str(&json(&format!("{{\"{all}\": 1}}"), &[])).unwrap();
            assert_eq!(name[shown], 1);
        }
        let quoted = r#"["a\\n", "\"\\\"", "\/", "é"]"#;
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parsed(&json(quoted, &[])), parsed(quoted), "nothing in it is unsafe");
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in ["\"\\", "\"\\u12", "\"\\ud800\"", "\"\\é\"", "\\", "\u{1b}", "\"\\u00é0\""] {
            assert!(serde_json::from_str::<Value>(&json(text, &[])).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_named_fields_have_several_lines() {
        let said = serde_json::json!({ "reason": "a\n\u{1b}b", "name": "a\nb", "in\n": [{"reason": ["c\nd"]}, "e\nf"] });
        let shown = serde_json::json!(
            { "reason": "a\n\\u{1b}b", "name": "a\\nb", "in\\n": [{"reason": ["c\nd"]}, "e\\nf"] }
        );
        let cleaned = json(&said.to_string(), &["reason"]).into_owned();
        assert_eq!(serde_json::from_str::<Value>(&cleaned).unwrap(), shown);
    }
}
