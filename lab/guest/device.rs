//! Makes devices and what hangs on them, and reads them back.

pub mod addresses;
pub mod bond;
pub mod bridge;
pub mod build;
pub mod configure;
pub mod ethtool;
pub mod gadget;
pub mod links;
pub mod mdb;
pub mod nat;
pub mod netdevsim;
pub mod nic;
pub mod option;
pub mod ready;
pub mod request;
pub mod switch;
pub mod tap;
pub mod tc;
pub mod verify;
pub mod vf;
