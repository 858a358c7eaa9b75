//! The rules: each looks at one file and says what is wrong, where, and what to do instead.

use super::source::{below, code_of, line_of, words};

/// A file over this many lines has more than one purpose.
const FILE_LINES_MAX: usize = 600;
/// One file of the tree.
pub struct File {
    /// From the top of the tree, with `/`.
    pub path: String,
    /// As written.
    pub text: String,
    /// Comments and literals blanked.
    pub code: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { code_of(text) } else { String::new() };
        Self { path: path.into(), text: text.into(), code }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(&format!("{folder}/")) || self.path == format!("{folder}.rs")
    }

    /// Values in, values out: the rooms of the package `core`.
    fn is_pure(&self) -> bool {
        self.is_rust() && self.is_in("lab/core")
    }

    fn at(&self, byte: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line_of(&self.code, byte))
    }
}

/// A rule: what is wrong with a file, one line each.
pub type Rule = fn(&File) -> Vec<String>;

/// All rules that need nothing but the file. What clippy can hold is in clippy.toml and lab/core/clippy.toml.
pub const RULES: [(&str, Rule); 8] = [
    ("opens with //!", opens_with_purpose),
    ("size", small),
    ("pure modules do no I/O", pure_does_no_io),
    ("rooms name only those below", rooms_name_only_those_below),
    ("names say what for", names_say_what_for),
    ("nothing ignored", nothing_ignored),
    ("no home of anybody", no_home_path),
    ("children end in time", children_end_in_time),
];

fn opens_with_purpose(file: &File) -> Vec<String> {
    if !file.is_rust() || file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{}:1: open the file with a `//!` line that says what it is for", file.path)]
}

fn small(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if !file.is_rust() || lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{}:{lines}: over {FILE_LINES_MAX} lines: split the file by purpose", file.path)]
}

fn pure_does_no_io(file: &File) -> Vec<String> {
    if !file.is_pure() {
        return Vec::new();
    }
    let hint = "a pure module takes values and returns values: do it in lab/guest or lab/host";
    let modules = ["env", "fs", "io", "os", "process", "thread"];
    let used = below(&file.code, "std").into_iter().filter(|(_, word)| modules.contains(word));
    used.map(|(at, word)| file.at(at, &format!("`std::{word}` in a pure module; {hint}"))).collect()
}

/// The rooms, from the bottom up: each names only those before it. `guest` is beside `judge`: only the model and the plan
/// are below it, so the agent does not know who judges it. `import` is named by `diagnose` and the command line alone.
const ROOMS: [&str; 11] =
    ["net", "topology", "import", "plan", "judge", "report", "diagnose", "capture", "host", "testing", "cli"];
/// What the guest may name besides itself.
const BELOW_GUEST: [&str; 3] = ["net", "topology", "plan"];

/// The room that a file is in.
fn room(path: &str) -> Option<&str> {
    let path = path.strip_prefix("lab/")?;
    let path = path.strip_prefix("core/").unwrap_or(path);
    let room = path.split(['/', '.']).next()?;
    (ROOMS.contains(&room) || room == "guest").then_some(room)
}

fn rooms_name_only_those_below(file: &File) -> Vec<String> {
    let Some(own) = room(&file.path).filter(|_| file.is_rust()) else { return Vec::new() };
    // A unit test may follow a value to where it is used.
    let code = &file.code[..file.code.find("#[cfg(test)]").unwrap_or(file.code.len())];
    let roots = ["crate", "super", "bondlab_core"];
    let named = roots.iter().flat_map(|root| below(code, root));
    let packages = words(code)
        .filter_map(|(at, word)| Some((at, word.strip_prefix("bondlab_").filter(|word| *word != "core")?)));
    let named = named.chain(packages);
    let place = |room: &str| ROOMS.iter().position(|known| *known == room);
    let is_above = |room: &str| match own {
        // Modules of the guest's own may be called as rooms are.
        "guest" => place(room).is_some() && !BELOW_GUEST.contains(&room),
        "cli" => false,
        _ => {
            room == "guest"
                || place(room) > place(own)
                || (room == "import" && !["import", "diagnose"].contains(&own))
        }
    };
    named
        .filter(|(_, word)| is_above(word))
        .map(|(at, word)| {
            let hint = "arrows go down only (ARCHITECTURE.md): move what both need to a room below";
            file.at(at, &format!("`{own}` names `{word}`; {hint}"))
        })
        .collect()
}

fn names_say_what_for(file: &File) -> Vec<String> {
    let vague = ["utils", "util", "common", "helpers", "helper", "manager", "misc"];
    let parts = file.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    let mut wrong: Vec<String> = parts
        .filter(|part| vague.contains(part))
        .map(|part| format!("{}:1: `{part}` says nothing: name it after what it is for", file.path))
        .collect();
    let mut previous = "";
    for (at, word) in words(&file.code) {
        if previous == "mod" && vague.contains(&word) {
            wrong.push(file.at(at, &format!("`mod {word}` says nothing: name it after what it is for")));
        }
        previous = word;
    }
    wrong
}

fn nothing_ignored(file: &File) -> Vec<String> {
    let hint =
        "a test that does not run proves nothing: make it fit the machine, or record why it cannot run";
    let found = file.code.match_indices("#[ignore");
    found.map(|(at, word)| file.at(at, &format!("`{word}`: {hint}"))).collect()
}

fn no_home_path(file: &File) -> Vec<String> {
    // Put together here, or this file would break its own rule.
    let homes = ["home", "Users", "root"].map(|folder| format!("/{folder}/"));
    let homes: Vec<&str> = homes.iter().map(String::as_str).collect();
    forbidden_text(file, &homes, "a path of one machine: make it relative, or find it at run time")
}

/// Where a child may take as long as it likes, because the host ends the guest that it is in.
const ENDED_BY_THE_HOST: [&str; 2] = ["lab/guest/exec/command.rs", "lab/guest/selftest/this_kernel.rs"];

/// The lab's own children, on the host and in the guest, are waited for with a bound.
fn children_end_in_time(file: &File) -> Vec<String> {
    let rooms = ["lab/host", "lab/cli", "lab/guest"];
    if !rooms.iter().any(|room| file.is_in(room)) || ENDED_BY_THE_HOST.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let code = &file.code[..file.code.find("#[cfg(test)]").unwrap_or(file.code.len())];
    if !words(code).any(|(_, word)| ["Child", "Command"].contains(&word)) {
        return Vec::new();
    }
    let hint =
        "no wait without a bound: use child::output_within or child::end_within, in the guest wait::until";
    let calls = ["output", "status", "wait", "wait_with_output"].map(|name| format!(".{name}()"));
    let found = calls.iter().flat_map(|call| code.match_indices(call));
    let is_of_a_child = |(at, call): &(usize, &str)| {
        let statement = code[..*at].rfind([';', '{', '}']).map_or(0, |end| end + 1);
        let (before, receiver) = (&code[..statement], code[statement..*at].to_lowercase());
        // What was killed ends.
        let was_killed = [".kill();", ".kill()?;"].iter().any(|call| before.ends_with(call));
        match *call {
            ".wait()" => !was_killed,
            ".status()" => receiver.contains("command"),
            _ => true,
        }
    };
    found.filter(is_of_a_child).map(|(at, call)| file.at(at, &format!("`{call}`: {hint}"))).collect()
}

/// Texts that no file may hold, where a path or a host name begins.
pub fn forbidden_text(file: &File, texts: &[&str], hint: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for text in texts {
            let starts =
                |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~".contains(c));
            let ends = |at: usize| {
                let rest = &line[at + text.len()..];
                text.ends_with('/') || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')
            };
            if line.match_indices(text).any(|(at, _)| starts(at) && ends(at)) {
                wrong.push(format!("{}:{}: `{text}` is {hint}", file.path, number + 1));
            }
        }
    }
    wrong
}
