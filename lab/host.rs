//! The machine that starts the kernel under test, and what it keeps for it.
//!
//! From a kernel's name to what QEMU boots, in reading order: [`kernels`] names the pin, [`store`] has it
//! on disk (by way of [`mirror`], [`download`], [`deb`], [`vmlinux`]), [`modules`] finds what has to be
//! loaded, [`initramfs`] packs that with the lab's own binary.

pub mod archive;
pub mod cache;
pub mod child;
pub mod deb;
pub mod decompress;
pub mod download;
pub mod file;
pub mod initramfs;
pub mod kernels;
pub mod lz4;
pub mod mirror;
pub mod modules;
pub mod store;
pub mod version;
pub mod vmlinux;
pub mod wait;
