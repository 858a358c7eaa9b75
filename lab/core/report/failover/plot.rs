//! The plot: a line for each mode and monitor, a dot for each run, where the far end's silence lies.

use std::fmt::Write;

use crate::report::failover::{Failover, STREAM, bond_of, broken, flow, is_for_good, monitor};

const WIDTH: u32 = 960;
/// Where the axis starts: left of it are the labels.
const LEFT: u32 = 470;
const RIGHT: u32 = 24;
const TOP: u32 = 64;
const BOTTOM: u32 = 48;
const ROW: u32 = 20;
/// The axis has a mark at each multiple of one of these, in ms, and no more than that.
const MARKS_MS: [u64; 5] = [100, 200, 500, 1000, 2000];
const MARKS_MAX: u64 = 12;
/// Colours that can be distinguished with any kind of colour vision (Okabe and Ito), one for each kernel.
const COLOURS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#000000", "#999999"];

/// One dot.
struct Dot<'a> {
    row: usize,
    kernel: usize,
    silence_ms: u64,
    /// Whether the bond never left the port.
    is_for_good: bool,
    /// Where it has not, the silence is the interval between frames.
    has_lost: bool,
    of: &'a str,
}

/// The plot as SVG. `kernels` are the colours.
pub fn svg(failovers: &[Failover], kernels: &[String]) -> String {
    let shown: Vec<&Failover> =
        failovers.iter().filter(|failover| !dots(failover, 0, kernels).is_empty()).collect();
    let all: Vec<Dot<'_>> =
        shown.iter().enumerate().flat_map(|(row, failover)| dots(failover, row, kernels)).collect();
    // A silence without end says nothing by its length: it is drawn at the end of the axis.
    let longest = all.iter().filter(|dot| !dot.is_for_good).map(|dot| dot.silence_ms).max().unwrap_or(0);
    let mark_ms = MARKS_MS.into_iter().find(|mark| longest / mark < MARKS_MAX).unwrap_or(longest.max(1));
    let end_ms = (longest / mark_ms + 1) * mark_ms;
    let x =
        |ms: u64| f64::from(LEFT) + f64::from(WIDTH - LEFT - RIGHT) * ms.min(end_ms) as f64 / end_ms as f64;
    let bottom = TOP + ROW * u32::try_from(shown.len()).unwrap_or(u32::MAX / ROW - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\">How long the far end receives nothing when a port fails</text>\n",
        height = bottom + BOTTOM
    );
    legend(&mut out, kernels);
    for ms in (0..=end_ms).step_by(mark_ms as usize) {
        let x = x(ms);
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#dddddd\"/><text x=\"{x:.1}\" y=\"{}\" \
             text-anchor=\"middle\">{ms}</text>",
            bottom + 16
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">ms; a ring: nothing arrives any more; a small dot: nothing was lost</text>",
        WIDTH - RIGHT,
        bottom + 36
    );
    for (row, failover) in (0..).zip(&shown) {
        let y = TOP + ROW * row + ROW / 2;
        let label = bond_of(&failover.topology)
            .map(|bond| format!("{}, {}: {}", bond.mode, monitor(bond), broken(&failover.topology)));
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><path d=\"M{LEFT} {y}H{}\" stroke=\"#eeeeee\"/>",
            LEFT - 10,
            y + 4,
            label.unwrap_or_default(),
            WIDTH - RIGHT
        );
    }
    for dot in &all {
        let row = u32::try_from(dot.row).unwrap_or_default();
        // Kernels lie one below the other within their line: dots at the same place stay visible.
        let spread = f64::from(ROW) * 0.6 * (dot.kernel as f64 + 0.5) / kernels.len().max(1) as f64;
        let y = f64::from(TOP + ROW * row) + f64::from(ROW) * 0.2 + spread;
        let colour = COLOURS[dot.kernel % COLOURS.len()];
        let radius = if dot.has_lost { "3" } else { "1.5" };
        let fill = if dot.is_for_good { "none" } else { colour };
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{colour}\"><title>{} on {}: {} ms</title></circle>",
            x(dot.silence_ms),
            dot.of,
            kernels[dot.kernel],
            dot.silence_ms
        );
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String, kernels: &[String]) {
    const STEP: usize = 84;
    for (number, kernel) in kernels.iter().enumerate() {
        let x = LEFT as usize + number * STEP;
        let colour = COLOURS[number % COLOURS.len()];
        let _ = writeln!(
            out,
            "<circle cx=\"{x}\" cy=\"42\" r=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"46\">{kernel}</text>",
            x + 9
        );
    }
}

fn dots<'a>(failover: &'a Failover, row: usize, kernels: &[String]) -> Vec<Dot<'a>> {
    let dot = |result: &'a crate::report::document::Document| {
        let kernel = kernels.iter().position(|kernel| *kernel == result.kernel.id)?;
        let stream = flow(result, STREAM)?;
        Some(Dot {
            row,
            kernel,
            silence_ms: stream.silence_ms?,
            is_for_good: is_for_good(result),
            has_lost: stream.delivered < stream.asked,
            of: &failover.topology.name,
        })
    };
    failover.results.iter().filter_map(dot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::failover::tests::failover;

    #[test]
    fn each_run_is_a_dot_at_its_place() {
        let plot = svg(&[failover(&[("5.10", 0), ("5.10", 300)])], &["5.10".into()]);
        assert_eq!(plot.matches("<title>").count(), 2);
        assert!(plot.contains("cx=\"470.0\""), "{plot}");
        assert!(plot.contains("active-backup, miimon 100, downdelay 200: cable out"), "{plot}");
    }
}
