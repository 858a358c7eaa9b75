//! What runs inside the kernel under test: as `/init` of a guest, or in namespaces of this host.

pub mod init;
pub mod channel;
pub mod modules;
pub mod power;
pub mod selftest;

pub mod drops;
pub mod bpf;
pub mod drop_book;
pub mod sender;
pub mod receiver;
pub mod sockopt;
pub mod flood;
pub mod safe_modules;
pub mod confine;

pub mod wait;
