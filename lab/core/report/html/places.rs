//! Names of places in the page: what stands behind `#` in an address that is sent to somebody.

use std::fmt::Write;

use crate::report::matrix::Cell;

/// The place of a topology's section.
pub fn of_topology(name: &str) -> String {
    safe(name)
}

/// The place of a cell: `vlan-over-bond@6.12.57`.
pub fn of_cell(cell: &Cell) -> String {
    format!("{}@{}", safe(&cell.document.topology), safe(&cell.document.kernel.id))
}

/// A name with only what needs no escape in an id or an address. Other bytes are `_` and their number, `_` itself too, so
/// that no two names have one place.
fn safe(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "_{byte:02x}");
            }
        }
    }
    out
}

/// Which of the grid's columns some kernels are, counted from 0: `0-8 12`. The script shows by them what is said of one kernel.
pub fn columns(order: &[String], members: &[String]) -> String {
    let numbers: Vec<usize> = order
        .iter()
        .enumerate()
        .filter(|(_, name)| members.contains(name))
        .map(|(number, _)| number)
        .collect();
    let runs = numbers.chunk_by(|one, next| one + 1 == *next).map(|run| match run {
        [only] => only.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(" ")
}

/// The letter of a group of kernels that behave alike: A to Z, then with a number.
pub fn letter(group: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(group % 26).unwrap_or(0));
    if group < 26 { letter.to_string() } else { format!("{letter}{}", group / 26 + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ranges_of_numbers() {
        let order = ["a", "b", "c", "d", "e"].map(String::from);
        let of = |names: &[&str]| {
            columns(&order, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!([of(&["a", "b", "c"]), of(&["e", "c"]), of(&[])], ["0-2", "2 4", ""]);
    }

    #[test]
    fn no_two_names_have_one_place() {
        assert_eq!(safe("vlan-over-bond"), "vlan-over-bond");
        assert_eq!(safe("a b\"<"), "a_20b_22_3c");
        assert_ne!(safe("a_20b"), safe("a b"));
        assert_eq!(["A", "Z", "A2", "B2"], [0, 25, 26, 27].map(letter).each_ref().map(String::as_str));
    }
}
