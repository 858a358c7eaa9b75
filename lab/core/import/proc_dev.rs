//! `/proc/net/dev`, whose counters a machine with BusyBox's `ip` has instead of those of `ip -s link` (`dev_seq_printf_stats()`).

use crate::import::model::Model;
use crate::import::text::Line;
use crate::net::name::IfName;

/// Columns that topologies have names for, by their place.
const COLUMNS: [(usize, &str); 8] = [
    (0, "rx_bytes"),
    (1, "rx_packets"),
    (2, "rx_errors"),
    (3, "rx_dropped"),
    (8, "tx_bytes"),
    (9, "tx_packets"),
    (10, "tx_errors"),
    (11, "tx_dropped"),
];

/// Eight of each direction.
const NUMBERS: usize = 16;

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    for line in lines {
        let Some((name, rest)) = line.text.trim().split_once(':') else { continue };
        let numbers: Vec<Option<u64>> =
            rest.split_whitespace().take(NUMBERS + 1).map(|number| number.parse().ok()).collect();
        let is_row = numbers.len() == NUMBERS && numbers.iter().all(Option::is_some);
        if !is_row || name == "lo" || name.parse::<IfName>().is_err() {
            continue;
        }
        model.found("/proc/net/dev", line.number);
        let Some(link) = model.link(name) else { continue };
        for (at, counter) in COLUMNS {
            if let Some(value) = numbers[at] {
                link.counters.insert(counter, value);
            }
        }
    }
}
