//! A trap for what netlink-proto cannot decode: it logs such a message and goes on, and a dump lacks an entry.

use std::cell::RefCell;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

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

/// What was lost on this thread since the last call; the message's bytes, which the text leads with, are cut.
pub fn lost() -> Option<String> {
    let lost = LOST.take();
    let text = lost.first()?;
    Some(text.rsplit("]: ").next().unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_netlink_proto_is_kept_and_others_are_not() {
        assert!(install());
        assert_eq!(lost(), None);
        log::error!(target: "somebody_else", "no matter");
        log::error!(target: "netlink_proto::codecs", "failed to decode packet [\n 0x1,\n]: invalid IFLA_MTU");
        assert_eq!(lost().as_deref(), Some("invalid IFLA_MTU"));
        assert_eq!(lost(), None);
    }
}
