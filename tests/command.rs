//! Tests of the command `lab` as a user types it, without a machine but where `here` finds one.

mod accept;
mod cli;
mod here;
mod kernels;
mod outside;
mod shortage;
