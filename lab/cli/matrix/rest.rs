//! What to type to run the cells of a matrix that did not run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bondlab_core::report::matrix::Matrix;

use crate::cli::matrix::Source;

/// Options that name cells: other ones are named.
const OF_CELLS: [&str; 3] = ["--kernels", "--shard", "--times"];

/// A command for each set of kernels, with the options of this one. `typed` are the words after `lab matrix`, `paths` those of
/// them that are files and folders.
pub fn commands(matrix: &Matrix, sources: &[Source], typed: &[String], paths: &[PathBuf]) -> Vec<String> {
    let mut kernels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (topology, kernel) in matrix.missing() {
        kernels.entry(topology).or_default().push(kernel);
    }
    let mut files: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
    for source in sources {
        if let Some(kernels) = kernels.remove(source.topology.name.as_str()) {
            let file = quoted(&source.path.display().to_string());
            // A file with parameters is several topologies.
            let files = files.entry(kernels).or_default();
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let options: String = options(typed, paths).iter().map(|word| format!(" {}", quoted(word))).collect();
    let command = |(kernels, files): (&Vec<&str>, &Vec<String>)| {
        format!("lab matrix {} --kernels {}{options}", files.join(" "), kernels.join(","))
    };
    files.iter().map(command).collect()
}

/// What was typed beside files and kernels.
fn options<'a>(typed: &'a [String], paths: &[PathBuf]) -> Vec<&'a str> {
    let mut words = typed.iter().map(String::as_str);
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let name = word.split('=').next();
        if OF_CELLS.iter().any(|option| name == Some(*option)) {
            if !word.contains('=') {
                words.next();
            }
        } else if word != "--" && !paths.iter().any(|path| path.as_os_str() == word) {
            kept.push(word);
        }
    }
    kept
}

/// As a POSIX shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_kept_and_cells_are_not() {
        let typed = "/far/a.toml --kernels quick -j 2 --guests own b --set miimon=0 --kernels=all --shard 1/2 --no-compare";
        let typed: Vec<String> = typed.split(' ').map(str::to_owned).collect();
        let kept = options(&typed, &["/far/a.toml".into(), "b".into()]);
        assert_eq!(kept.join(" "), "-j 2 --guests own --set miimon=0 --no-compare");
    }

    #[rstest::rstest]
    #[case("/far/a.toml", "/far/a.toml")]
    #[case("a b.toml", "'a b.toml'")]
    #[case("it's", r"'it'\''s'")]
    fn words_are_quoted_for_a_shell(#[case] word: &str, #[case] expected: &str) {
        assert_eq!(quoted(word), expected);
    }
}
