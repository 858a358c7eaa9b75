//! What runs inside the kernel under test: as `/init` of a guest, or in namespaces of this host.

pub mod channel;
pub mod init;
pub mod modules;
pub mod power;
pub mod selftest;

pub mod bpf;
pub mod capture;
pub mod confine;
pub mod drop_book;
pub mod drops;
pub mod flood;
pub mod receiver;
pub mod safe_modules;
pub mod sender;
pub mod sockopt;

pub mod wait;

pub mod addresses;
pub mod agent;
pub mod bond;
pub mod build;
pub mod counters;
pub mod decoder;
pub mod dhcp;
pub mod emptied;
pub mod ethtool;
pub mod extack;
pub mod faults;
pub mod gadget;
pub mod hardware;
pub mod held;
pub mod hold;
pub mod links;
pub mod nat;
pub mod netdevsim;
pub mod netns;
pub mod nft;
pub mod outside;
pub mod partner;
pub mod plugin;
pub mod pods;
pub mod probe;
pub mod ready;
pub mod rtnl;
pub mod states;
pub mod stream;
pub mod tables;
pub mod tap;
pub mod tc;
pub mod tcx;
pub mod testbed;
pub mod trial;
pub mod verify;
pub mod vf;
