//! One flow as a diagram: from the sender to each fate, as wide as the share of frames.

use maud::{Markup, html};

use crate::report::document::FlowDocument;
use crate::report::drawing::layout::clip;

/// The page's style has the width, too, and the size and left edge of the sender's bar: once instead of in each picture.
const WIDTH: u64 = 640;
const FROM_X: u64 = 170;
const TO_X: u64 = 310;
/// Height of all frames together.
const FULL: u64 = 60;
/// Least room for one fate: its two lines of text.
const ROW: u64 = 34;
/// Distance between two bands.
const GAP: u64 = 6;

/// One band.
struct Band {
    frames: u64,
    class: &'static str,
    what: String,
    place: String,
}

/// The diagram.
pub fn diagram(flow: &FlowDocument) -> Markup {
    let bands = bands(flow);
    let total = bands.iter().map(|band| band.frames).sum::<u64>().max(1);
    let rows: Vec<u64> = bands.iter().map(|band| (thickness(band.frames, total) + GAP).max(ROW)).collect();
    let room = rows.iter().sum::<u64>();
    let height = room.max(FULL) + 28;
    let begin = (height - FULL) / 2;
    let (mut above, mut top) = (0, (height - room) / 2);
    let mut placed = Vec::new();
    for (band, row) in bands.iter().zip(rows) {
        let from = begin + share(above, total) + share(band.frames, total) / 2;
        placed.push((band, from, top + row / 2, thickness(band.frames, total)));
        above += band.frames;
        top += row;
    }
    let notes = notes(flow);
    let middle = height / 2 - 6 * notes.len() as u64;
    html! {
        figure {
            figcaption { b { (flow.name) } ", " (flow.socket) " socket, " (flow.from) " to " (flow.to) }
            svg.flow viewBox={ "0 0 " (WIDTH) " " (height) } {
                rect y=(begin) {}
                @for (band, from, to, thick) in &placed {
                    path class=(band.class) stroke-width=(thick)
                        d={ "M" (FROM_X) " " (from) "C" (FROM_X + 80) " " (from) " " (TO_X - 80) " " (to) " " (TO_X) " " (to) } {}
                    text x=(TO_X + 8) y=(to - 2) { tspan { (band.frames) } " " (clip(&band.what)) }
                    text.soft x=(TO_X + 8) y=(to + 12) { (clip(&band.place)) }
                }
                // Behind the bands: on a phone it is on them.
                text.from x=(FROM_X - 18) y=(middle - 2) { (clip(&flow.from).chars().take(19).collect::<String>()) }
                @for (row, note) in notes.iter().enumerate() {
                    text.from.soft x=(FROM_X - 18) y=(middle + 13 + 14 * row as u64) { (note) }
                }
            }
        }
    }
}

/// Height of some of all frames, at the sender.
fn share(frames: u64, total: u64) -> u64 {
    u64::try_from(u128::from(frames) * u128::from(FULL) / u128::from(total)).unwrap_or(FULL)
}

/// Width of a band: its share of the sender's bar, and never too thin to be seen.
fn thickness(frames: u64, total: u64) -> u64 {
    share(frames, total).max(2)
}

/// What is written at the sender, short enough for the room there. A refused frame has a fate too: a full queue drops it and the
/// caller gets the errno.
fn notes(flow: &FlowDocument) -> Vec<String> {
    let refused = flow.errors.iter().map(|(errno, count)| format!("{count} {errno}"));
    let twice = (flow.duplicated > 0).then(|| format!("{} came twice", flow.duplicated));
    [format!("{} asked", flow.asked)].into_iter().chain(refused).chain(twice).take(4).collect()
}

fn bands(flow: &FlowDocument) -> Vec<Band> {
    let mut bands = Vec::new();
    let mut add = |frames: u32, class, what: String, place: String| {
        if frames > 0 {
            bands.push(Band { frames: frames.into(), class, what, place });
        }
    };
    let at = flow.counts_at.map(|at| format!("at the {}, ", at.word())).unwrap_or_default();
    add(flow.delivered, "arrived", "delivered".into(), format!("{at}{}", flow.to));
    for fate in &flow.fates {
        let device = fate.device_or("no device named");
        let queue = fate.queue.as_ref().map(|queue| format!(" ({queue})")).unwrap_or_default();
        add(
            fate.frames,
            "lost",
            format!("lost: {}", fate.reason),
            format!("{} of {device}{queue}", fate.layer),
        );
    }
    add(flow.unattributed, "unknown", "UNATTRIBUTED".into(), "no place is known".into());
    bands
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width of a character of the picture's text, in its units: 12 px DejaVu Sans, rounded up.
    const CHARACTER: u64 = 7;

    #[test]
    fn the_style_has_the_numbers_of_the_pictures() {
        let style = include_str!("page.css");
        assert!(style.contains(&format!(".flow {{ width: {WIDTH}px; }}")));
        let bar = format!(".flow rect {{ x: {}px; width: 10px; height: {FULL}px; fill", FROM_X - 10);
        assert!(style.contains(&bar), "{bar}");
    }

    #[test]
    fn a_band_is_as_wide_as_its_share_of_the_senders_bar() {
        assert_eq!([thickness(100, 100), thickness(75, 100), thickness(25, 100)], [FULL, 45, 15]);
        assert_eq!(thickness(1, 100_000), 2, "one frame of many is seen");
    }

    #[test]
    fn what_is_written_at_the_sender_fits_into_the_picture() {
        let flow: FlowDocument = serde_json::from_value(serde_json::json!({
            "name": "flood", "socket": "ping", "from": "pod:net1", "to": "gateway:eth0.70", "asked": 9999999,
            "sent": 0, "delivered": 0, "duplicated": 1000, "errors": { "EADDRNOTAVAIL": 9999999 },
            "fates": [], "unattributed": 0,
        }))
        .expect("a flow");
        for note in notes(&flow) {
            let width = note.chars().count() as u64 * CHARACTER;
            assert!(width <= FROM_X - 18, "`{note}` needs {width}");
        }
    }
}
