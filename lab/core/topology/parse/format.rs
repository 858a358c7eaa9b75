//! The version of the format that a topology file is written in: `format = 1`.
//!
//! A file that does not say is of version 1. A change that would give an old file another meaning, or refuse it, raises [`NEWEST`] and
//! adds a row to [`MIGRATIONS`]: it takes a document of the version before and makes one of the next of it, before anything else
//! is read. A key that is only added needs neither.

use toml::de::DeValue;

use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::document::{Document, Part};

/// The key.
pub const KEY: &str = "format";

/// The version that this lab writes and knows best.
pub const NEWEST: u32 = 1;

/// From a version to the next.
type Migration = fn(&mut Document<'_>);

/// In order: the first makes version 2 of version 1.
const MIGRATIONS: [Migration; NEWEST as usize - 1] = [];

/// Brings a document to the newest version. Of one that is newer than this lab the version is all that is said: whatever else is
/// in it may be right.
pub fn take(document: &mut Document<'_>) -> Option<Diagnostic> {
    let value = document.value(&[Part::Key(KEY.into())])?;
    let DeValue::Integer(number) = value.get_ref() else {
        // It is read as any other key is, and refused there.
        return None;
    };
    let version = u32::from_str_radix(number.as_str(), number.radix()).ok();
    let (message, hint) = match version {
        Some(version @ 1..=NEWEST) => {
            let from = usize::try_from(version - 1).unwrap_or(0);
            MIGRATIONS.iter().skip(from).for_each(|migrate| migrate(document));
            return None;
        }
        Some(version) if version > NEWEST => (
            format!("a file of format {version}, and this lab knows format {NEWEST}"),
            "take a newer lab, or write the file for this one".to_owned(),
        ),
        _ => ("no version of a format".to_owned(), format!("formats have numbers from 1 to {NEWEST}")),
    };
    Some(Diagnostic { span: value.span(), message, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a version 2 could be: a flow's `frames` is called `count` in version 1.
    fn rename(document: &mut Document<'_>) {
        document
            .rename(&[Part::Key("flow".into()), Part::Key("f".into()), Part::Key("count".into())], "frames");
    }

    #[test]
    fn a_migration_changes_a_document_before_it_is_read_and_keeps_its_places() {
        let text = "[ns.a.dummy.x]\n[flow.f]\nfrom = \"a:x\"\nto = \"a:x\"\ncount = \"many\"\n";
        let migrate: Migration = rename;
        let (mut document, errors) = Document::parse(text);
        assert!(errors.is_empty());
        let before = document.read().unwrap_err();
        migrate(&mut document);
        let after = document.read().unwrap_err();
        assert_ne!(format!("{before:?}"), format!("{after:?}"), "`count` is no key, and `many` no number");
        let path = ["flow", "f", "frames"].map(|key| Part::Key(key.into()));
        let value = document.value(&path).unwrap();
        assert_eq!(&text[value.span()], "\"many\"", "an error names the place in the old file");
    }
}
