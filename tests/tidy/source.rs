//! Rust source for rules that look at code only: comments and literals blanked, lines and columns kept.

/// The text with everything blanked that is not code: comments, strings, character literals. As long as the text.
pub fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_noncode(&chars, at);
        if end > at {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            // A word at a time, so that the r of `for` does not begin a raw string.
            let mut end = at + 1;
            if is_word(chars[at]) {
                while chars.get(end).copied().is_some_and(is_word) {
                    end += 1;
                }
            }
            code.extend(&chars[at..end]);
            at = end;
        }
    }
    code
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the comment or literal that begins here ends; `at` when none does.
fn end_of_noncode(chars: &[char], at: usize) -> usize {
    let looking_at =
        |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    if looking_at(at, "//") {
        return (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len());
    }
    if looking_at(at, "/*") {
        return end_of_comment(chars, at);
    }
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let quote = at + prefix.len();
        looking_at(at, prefix) && (looking_at(quote, "\"") || prefix.ends_with('r') && is_raw(chars, quote))
    });
    if let Some(prefix) = prefix {
        return end_of_string(chars, at + prefix.len(), prefix.ends_with('r'));
    }
    let quote = at + usize::from(looking_at(at, "b'"));
    if looking_at(quote, "'") {
        // A lifetime has no second quote after one character.
        let escaped = looking_at(quote, "'\\");
        let end =
            if escaped { (quote + 3..chars.len()).find(|i| chars[*i] == '\'') } else { Some(quote + 2) };
        return end.filter(|end| looking_at(*end, "'")).map_or(at, |end| end + 1);
    }
    at
}

fn is_raw(chars: &[char], at: usize) -> bool {
    chars[at.min(chars.len())..].iter().find(|c| **c != '#') == Some(&'"')
}

fn end_of_comment(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut at = at;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// `at` is at the first hash or quote.
fn end_of_string(chars: &[char], at: usize, is_raw: bool) -> usize {
    let hashes = if is_raw { chars[at..].iter().take_while(|c| **c == '#').count() } else { 0 };
    let mut at = at + hashes + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' if !is_raw => at += 2,
            '"' if chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes => {
                return at + 1 + hashes;
            }
            _ => at += 1,
        }
    }
    chars.len()
}

/// The brace that closes the one at `open`.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at;
        }
    }
    code.len()
}

/// Line of a byte, from 1.
pub fn line_of(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

/// All words with their places.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        at = code[start..].find(|c| !is_word(c)).map_or(code.len(), |len| start + len);
        Some((start, &code[start..at]))
    })
}

/// What follows `root::` anywhere in the code, with its place: `a` and `b` of `root::{a::x, b}`.
pub fn below<'c>(code: &'c str, root: &str) -> Vec<(usize, &'c str)> {
    let mut found = Vec::new();
    for (start, word) in words(code) {
        let rest = code[start + word.len()..].trim_start();
        let Some(rest) = rest.strip_prefix("::").filter(|_| word == root) else { continue };
        let rest = rest.trim_start();
        let place = code.len() - rest.len();
        if rest.starts_with('{') {
            let group = &code[place + 1..closing(code, place)];
            let mut depth = 0;
            let mut fresh = true;
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => fresh = true,
                    c if fresh && is_word(c) => {
                        fresh = false;
                        found.extend(words(&group[at..]).next().map(|(_, word)| (place + 1 + at, word)));
                    }
                    _ => {}
                }
            }
        } else if rest.starts_with(is_word) {
            found.extend(words(rest).next().map(|(_, word)| (place, word)));
        }
    }
    found
}
