//! docs/observations.md: each key and word on the page is one of the lab's, and each state that `show` has is on the page.

use std::collections::BTreeSet;

use bondlab_core::net::link_show;
use bondlab_core::net::qdisc_xstats;
use bondlab_core::topology::condition::{DEVICE_COUNTERS, QDISC_COUNTERS};
use bondlab_core::topology::observation::Shown;

const PAGE: &str = include_str!("../docs/observations.md");

/// The values that a key has on the page: `show = "mtu"`.
fn values(key: &str) -> BTreeSet<&'static str> {
    let before = format!("`{key} = \"");
    PAGE.split(before.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

fn details() -> BTreeSet<&'static str> {
    let device = || "node:p0".parse().expect("a device");
    let all = [
        Shown::Neighbour { device: device(), to: "192.0.2.1".parse().expect("an address") },
        Shown::BridgeVlan { device: device(), id: 10_i64.try_into().expect("a VLAN") },
        Shown::Fdb { device: device(), mac: "02:00:5e:00:53:01".parse().expect("an address") },
        Shown::Mdb { device: device(), group: "239.1.2.3".parse().expect("a group") },
    ];
    all.iter().flat_map(|shown| shown.details()).copied().collect()
}

#[test]
fn the_page_has_every_word_of_the_lab_and_no_other() {
    let states: BTreeSet<&str> =
        link_show::properties().into_iter().flat_map(|(_, all)| all).map(|property| property.key).collect();
    let shown = values("show");
    let unknown: Vec<_> = shown.difference(&link_show::keys()).copied().collect();
    assert!(unknown.is_empty(), "`show` has no {unknown:?}");
    let missing: Vec<_> = states.difference(&shown).collect();
    assert!(missing.is_empty(), "the page lacks {missing:?}");
    let counters: BTreeSet<&str> =
        DEVICE_COUNTERS.into_iter().chain(QDISC_COUNTERS).chain(qdisc_xstats::words()).collect();
    assert_eq!(values("counter"), counters);
    assert_eq!(values("detail"), details());
}
