//! A trap for what netlink-proto cannot decode: it logs such a message and goes on, and a dump lacks an entry.

use std::cell::RefCell;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// A record is one line.
const REASON_CHARS_MAX: usize = 300;

thread_local! {
    /// The connection runs on the thread that asks, so each thread has its own.
    static LOST: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Trap;

impl Log for Trap {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Error && metadata.target().starts_with("netlink_proto")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LOST.with_borrow_mut(|lost| lost.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Installs the trap, once for the process; `false` when another logger stands in its place.
pub fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        log::set_max_level(LevelFilter::Error);
        log::set_logger(&Trap).is_ok()
    })
}

/// What was lost on this thread since the last call.
pub fn lost() -> Option<String> {
    LOST.take().first().map(|text| reason(text))
}

/// The reason alone: `NetlinkCodec::decode()` leads with all bytes of the message, as `b"..."`.
fn reason(text: &str) -> String {
    let reason = match text.split_once("b\"") {
        Some((_, rest)) => rest.split_once("\": ").map_or(text, |(_, reason)| reason),
        None => text,
    };
    reason.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_netlink_proto_is_kept_and_others_are_not() {
        assert!(install());
        assert_eq!(lost(), None);
        log::error!(target: "somebody_else", "no matter");
        log::error!(target: "netlink_proto::codecs", "failed to decode packet b\"\\x10\": invalid IFLA_MTU");
        assert_eq!(lost().as_deref(), Some("invalid IFLA_MTU"));
        assert_eq!(lost(), None);
    }

    #[test]
    fn a_text_without_bytes_stays() {
        for text in ["unrecoverable error in decoder", "b\" and no end"] {
            assert_eq!(reason(text), text);
        }
        assert_eq!(reason(&"x".repeat(9999)).len(), REASON_CHARS_MAX);
    }
}
