//! A topology as a picture: pure functions of its namespaces and links.

pub mod layout;
pub mod mermaid;
pub mod structure;
pub mod svg;
pub mod tree;

pub use crate::report::drawing::structure::{LinkDocument, Structure};
