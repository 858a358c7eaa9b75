//! Tests of the command `lab` as a user types it, without a machine but where `here` finds one.

mod accept;
mod browser;
mod capture;
mod ci_formats;
mod cli;
mod here;
mod installing;
mod kernels;
mod layouts;
mod outside;
mod own_kernels;
mod packaged;
mod pages;
mod shortage;
