//! The text of a file: read with recovery, every value with its place, every mistake with a hint.

pub(crate) mod diagnostic;
pub(crate) mod document;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod format;
pub(crate) mod overlay;
pub mod parameters;
pub(crate) mod read;
pub(crate) mod syntax;
