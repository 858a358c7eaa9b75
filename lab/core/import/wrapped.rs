//! Lines that a terminal broke at its width: pasted, their ends stand on lines of their own.

use std::borrow::Cow;

use crate::import::text::Line;

/// Widths of terminals that are told from lines which end there by chance.
const NARROWEST: usize = 60;

/// The lines, those that were broken joined again. `is_heading` knows the lines below which everything is indented: where one ends
/// at the width of the terminal, and the next one begins at its left margin, the terminal broke it.
pub fn joined<'a, 't>(
    lines: &'a [Line<'t>],
    is_heading: impl Fn(&str) -> bool,
) -> Vec<(Cow<'t, str>, &'a Line<'t>)> {
    let is_end = |line: &Line<'_>| {
        let is_text = line.text.chars().next().is_some_and(|first| !first.is_whitespace());
        is_text && !line.begins && !is_heading(line.text)
    };
    let broken = lines.windows(2).filter(|pair| is_heading(pair[0].text) && is_end(&pair[1]));
    let width = broken.map(|pair| pair[0].text.chars().count()).max().filter(|width| *width >= NARROWEST);
    let mut all: Vec<(Cow<'t, str>, &'a Line<'t>)> = Vec::with_capacity(lines.len());
    let (mut is_inside, mut last) = (false, 0);
    for line in lines {
        let is_here = is_heading(line.text);
        is_inside = is_here || (is_inside && !line.begins && !line.text.trim().is_empty());
        let missing = width.and_then(|width| width.checked_sub(last)).filter(|missing| *missing <= 1);
        last = line.text.chars().count();
        if let (true, false, Some(missing), true, Some((text, _))) =
            (is_inside, is_here, missing, is_end(line), all.last_mut())
        {
            // White space at the end of a line is taken off.
            let text = text.to_mut();
            text.push_str(if missing == 1 { " " } else { "" });
            text.push_str(line.text);
            continue;
        }
        all.push((Cow::Borrowed(line.text), line));
    }
    all
}
