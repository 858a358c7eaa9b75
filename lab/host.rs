//! The host's side: starts a kernel in a machine, watches it, and says how it ended.

pub mod accel;
pub mod checksum;
pub mod console;
pub mod death;
pub mod install;
pub mod lines;
pub mod qemu;
pub mod qmp;
pub mod vm;
pub mod wait;
pub mod warm;
