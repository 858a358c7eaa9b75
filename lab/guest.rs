//! What runs inside the kernel under test.

pub mod channel;
pub mod init;
pub mod modules;
pub mod power;
pub mod selftest;
pub mod wait;
