//! From the name of a kernel to something that QEMU boots.

pub mod archive;
pub mod deb;
pub mod decompress;
pub mod download;
pub mod limited;
pub mod lz4;
pub mod manifest;
pub mod mirror;
pub mod modules;
pub mod netdevsim;
pub mod pins;
pub mod rpm;
pub mod selftests;
pub mod store;
pub mod vmlinux;
