//! bondlab: bonds, VLANs and VFs, broken on purpose, with an account of every frame.
//!
//! The package `bondlab` is this library, `lab`, for the tests of other crates, and the command `lab`, which does the work.
//! `docs/library.md` has the whole of it.
//!
//! # Topologies on pinned kernels
//!
//! ```no_run
//! use lab::build::{Fault, Flow, Link};
//! use lab::{Lab, Topology};
//!
//! #[test]
//! fn a_full_queue_refuses() {
//!     let topology = Topology::builder("full-queue")
//!         .link("node:p0", Link::veth("switch:p0").address("192.0.2.1/24"))
//!         .link("switch:p0", Link::veth("node:p0").address("192.0.2.2/24"))
//!         .fault("full", Fault::qdisc("node:p0", "pfifo").set("qdisc.limit", 0))
//!         .flow("flood", Flow::new("node:p0", "switch:p0", 1000))
//!         .inject("full")
//!         .flood("flood")
//!         .build()
//!         .unwrap();
//!     for lab in Lab::on_each("quick") {
//!         let Ok(run) = lab.run(&topology) else { continue };
//!         run.assert_expected();
//!         run.flow("flood").assert_refused("ENOBUFS", 1000);
//!         run.flow("flood").assert_lost_on("qdisc", "node:p0", 1000);
//!     }
//! }
//! ```
//!
//! # A test body inside of a kernel
//!
//! ```no_run
//! #[lab::test(kernels = "quick", topology = "tests/bond.toml", ns = "node")]
//! fn the_bond_has_carrier() {
//!     assert_eq!(std::fs::read_to_string("/sys/class/net/bond0/carrier").unwrap(), "1\n");
//! }
//! ```
//!
//! A skip ([`Skip`]) has its reason, and is a failure with the variable `CI` set.
//!
//! What is not documented here is private, but for one hidden name: `#[lab::test]` expands to it. The lab itself is in packages of
//! its own (`bondlab-core`, `bondlab-guest`, `bondlab-host`), which change without notice.

mod testing;

pub use bondlab_macros::test;

pub use testing::build;
pub use testing::build::TopologyBuilder;
pub use testing::flow::FlowAccount;
pub use testing::folder::Folder;
pub use testing::on::Lab;
pub use testing::run::Run;
pub use testing::skip::Skip;
pub use testing::topology::{Topology, TopologyError};
pub use testing::trial::Trial;

#[doc(hidden)]
pub use testing::guest_test as __guest_test;
