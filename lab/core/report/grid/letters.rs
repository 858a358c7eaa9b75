//! A grid that is too wide for words: a letter for each cell.

use std::fmt::Write;

use crate::judge::outcome::Outcome;
use crate::report::grid::{OUTCOMES, mark, trim_line, wrap};
use crate::report::matrix::Matrix;

/// With fewer columns of letters beside the names, the letters are below the names.
const LETTERS_MIN: usize = 13;

/// Two columns a cell, kernels by number; in blocks where even that is too wide. Where the names leave no room, the letters are below them.
pub(super) fn grid(matrix: &Matrix, width: usize) -> String {
    let mut out = String::new();
    let kernels = &matrix.grid.kernels;
    let longest = matrix.grid.rows.keys().map(String::len).max().unwrap_or(0);
    let beside = width.saturating_sub(longest + 1) / 2;
    let is_below = beside < LETTERS_MIN.min(kernels.len());
    let (names, block) = if is_below { (1, (width - 2) / 2) } else { (longest, beside) };
    for (number, columns) in kernels.chunks(block).enumerate() {
        let first = number * block;
        // The tens stand above the ones.
        for divisor in [10, 1] {
            let _ = write!(out, "{:names$} ", "");
            for index in first..first + columns.len() {
                let digit = (index + 1) / divisor % 10;
                let shown = if divisor == 10 && digit == 0 { " ".into() } else { digit.to_string() };
                let _ = write!(out, "{shown} ");
            }
            trim_line(&mut out);
        }
        for (topology, row) in &matrix.grid.rows {
            let name =
                if is_below { format!("{topology}\n{:names$}", "") } else { format!("{topology:names$}") };
            let _ = write!(out, "{name} ");
            for (kernel, outcome) in columns.iter().zip(&row[first..]) {
                let mark = mark(matrix, topology, kernel).unwrap_or_else(|| " ".into());
                let _ = write!(out, "{}{mark}", outcome.map_or(' ', letter));
            }
            trim_line(&mut out);
        }
        out.push('\n');
    }
    let legend = kernels.iter().enumerate().map(|(index, kernel)| format!("{} {kernel}", index + 1));
    out += &wrap(legend, "  ", "", width);
    let used = OUTCOMES.iter().filter(|outcome| matrix.count(**outcome) > 0);
    let legend = used.map(|outcome| format!("{} {}", letter(*outcome), outcome.word()));
    out += &wrap(legend, "  ", "", width);
    out
}

fn letter(outcome: Outcome) -> char {
    match outcome {
        Outcome::Pass => '.',
        Outcome::Xfail => 'x',
        Outcome::Fail => 'F',
        Outcome::Skip => '-',
        Outcome::Unsupported => 'u',
        Outcome::Panic => 'P',
        Outcome::Hang => 'H',
        Outcome::BootFail => 'B',
        Outcome::Error => 'E',
    }
}
