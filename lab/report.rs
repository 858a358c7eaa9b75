//! Renderings of a result: values in, text out.

pub mod merge;
pub mod terminal;
