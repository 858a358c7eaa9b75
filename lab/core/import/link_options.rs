//! What a link of any kind may have: length of its queue, group, flags that were set.

use toml::Value as Toml;

use crate::import::model::{Kind, Link, Model};
use crate::import::text::after;
use crate::import::value::Value;

/// DEFAULT_TX_QUEUE_LEN of most links, and TUN_READQ_SIZE of tuns (`tun_net_initialize()`); taps have the first, measured on 5.10 to 7.3.
const QUEUE: u32 = 1000;
const QUEUE_OF_TUN: u32 = 500;

/// Flags that `ip` shows where somebody set them: `dev_get_flags()` takes these two from `gflags`, where a socket's or a bond's wish is not.
const FLAGS: [(&str, &str); 2] = [("PROMISC", "promisc"), ("ALLMULTI", "allmulticast")];

/// A flag by its name.
pub fn flags(link: &mut Link, flags: &[&str]) {
    for (_, key) in FLAGS.iter().filter(|(flag, _)| flags.contains(flag)) {
        link.common.insert(*key, true.into());
    }
}

/// What stands behind the flags: `qlen 5000`, `group 7`.
pub fn of_words(name: &str, text: &str, model: &mut Model) {
    queue(name, after(text, "qlen"), model);
    group(name, after(text, "group"), model);
}

/// The same of a document, and whether carrier was taken away.
pub fn of_json(name: &str, item: &Value, model: &mut Model) {
    queue(name, item.text_of("txqlen"), model);
    group(name, item.text_of("group"), model);
    if item.text_of("proto_down") == Some("true") {
        proto_down(name, model);
    }
}

/// Words of `ip link set`.
pub fn of_command(name: &str, words: &[&str], model: &mut Model) {
    for pair in words.windows(2) {
        match *pair {
            ["txqueuelen" | "txqlen" | "qlen", value] => queue(name, Some(value), model),
            ["group", value] => group(name, Some(value), model),
            ["promisc", "on"] => set(name, "promisc", true, model),
            ["allmulticast", "on"] => set(name, "allmulticast", true, model),
            ["protodown", "on"] => proto_down(name, model),
            _ => {}
        }
    }
}

/// Somebody took the carrier away: such a link sends nothing.
pub fn proto_down(name: &str, model: &mut Model) {
    model.note(format!("{name}: protodown is not carried over"));
}

/// Whether the length is what a link of its kind has anyhow.
pub fn is_default(link: &Link, key: &str, value: &Toml) -> bool {
    let usual = if link.kind == Kind::Tun { QUEUE_OF_TUN } else { QUEUE };
    key == "txqueuelen" && *value == Toml::from(usual)
}

fn set(name: &str, key: &'static str, value: impl Into<Toml>, model: &mut Model) {
    if let Some(link) = model.link(name) {
        link.common.insert(key, value.into());
    }
}

/// None has no queueing discipline at all, and takes none.
fn queue(name: &str, value: Option<&str>, model: &mut Model) {
    if let Some(packets) = value.and_then(|value| value.parse::<u32>().ok()).filter(|packets| *packets > 0) {
        set(name, "txqueuelen", packets, model);
    }
}

fn group(name: &str, value: Option<&str>, model: &mut Model) {
    match value.map(|value| (value, value.parse::<u32>())) {
        None | Some((_, Ok(0))) | Some(("default", _)) => {}
        Some((_, Ok(number))) => set(name, "group", number, model),
        Some((word, Err(_))) => {
            model.note(format!("{name}: its group {word} is not carried over: topologies have numbers"));
        }
    }
}
