//! Renderings of a result: values in, text out.

pub mod terminal;
