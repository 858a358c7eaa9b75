//! Tarballs of sosreport and supportconfig, packed with gzip, xz or zstd: the files that are asked for, read one after the other and
//! bounded in every direction. Nothing is written, no link is followed, and what is not wanted is skipped.

use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use crate::file::{self, FileError};

/// Entries of one archive at the most: a large sosreport has 30,000.
const ENTRIES_MAX: usize = 300_000;
/// Bytes that are unpacked of one archive at the most; a compressed file of zeros has no end otherwise.
const UNPACKED_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Memory of the xz decoder, in KiB: `xz -9` needs 64 MiB.
const XZ_MEMORY_KIB: u32 = 128 * 1024;
/// A tar block, in bytes.
const BLOCK: usize = 512;

/// Bounds on what is taken out.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files.
    pub members: usize,
    /// Bytes of one file.
    pub member_bytes: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path in the archive.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What was taken out of an archive.
#[derive(Debug, Default)]
pub struct Members {
    /// In the order of the archive.
    pub members: Vec<Member>,
    /// Paths of all files, as far as they were looked at.
    pub paths: Vec<String>,
    /// What was left out though it was wanted, and where the archive ends too early.
    pub notes: Vec<String>,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// A format that is not read here.
    #[error("{name} is packed with {format}, which is not read here\nhint: unpack it, and import its folder")]
    Unsupported {
        /// The file.
        name: String,
        /// Its format.
        format: &'static str,
    },
    /// Damaged from its beginning.
    #[error("{name} is a damaged archive: {source}\nhint: is it complete?")]
    Damaged {
        /// The file.
        name: String,
        /// What the decoder said.
        source: io::Error,
    },
}

/// What a file is packed with, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Xz,
    Zstd,
    Tar,
    Other(&'static str),
}

fn packing(begin: &[u8]) -> Option<Packing> {
    let magics: [(&[u8], Packing); 6] = [
        (b"\x1f\x8b", Packing::Gzip),
        (b"\xfd7zXZ\0", Packing::Xz),
        (b"\x28\xb5\x2f\xfd", Packing::Zstd),
        (b"BZh", Packing::Other("bzip2")),
        (b"PK\x03\x04", Packing::Other("zip")),
        (b"7z\xbc\xaf\x27\x1c", Packing::Other("7-Zip")),
    ];
    let known = magics.iter().find(|(magic, _)| begin.starts_with(magic)).map(|(_, packing)| *packing);
    let is_tar = begin.len() >= BLOCK && &begin[257..262] == b"ustar";
    known.or(is_tar.then_some(Packing::Tar))
}

/// Whether a file that begins like this is an archive, or packed.
#[must_use]
pub fn is_archive(begin: &[u8]) -> bool {
    packing(begin).is_some()
}

/// The first bytes of a file: enough for [`is_archive`].
///
/// # Errors
/// When it is no file, or cannot be read.
pub fn begin(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = file::open(path)?.take(BLOCK as u64).read_to_end(&mut bytes);
    read.map_err(|error| FileError::from_parts("read", path, error))?;
    Ok(bytes)
}

/// Takes files out of an archive on disk.
///
/// # Errors
/// When it cannot be read, is damaged from its beginning, or is packed in a way that is not read here. One that ends too early
/// gives what is there, and a note.
pub fn members(
    path: &Path,
    limits: Limits,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Members, ArchiveError> {
    let begin = begin(path)?;
    let file = file::open(path)?;
    members_of(&path.display().to_string(), &begin, file, limits, is_wanted)
}

/// As [`members`], of any stream; `begin` are its first bytes, which it has itself as well.
///
/// # Errors
/// As [`members`].
pub fn members_of(
    name: &str,
    begin: &[u8],
    stream: impl Read + 'static,
    limits: Limits,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Members, ArchiveError> {
    let damaged = |source: io::Error| ArchiveError::Damaged { name: name.to_owned(), source };
    let unsupported = |format| ArchiveError::Unsupported { name: name.to_owned(), format };
    let unpacked: Box<dyn Read> = match packing(begin) {
        Some(Packing::Gzip) => Box::new(MultiGzDecoder::new(stream)),
        Some(Packing::Xz) => Box::new(XzReader::new_mem_limit(stream, true, XZ_MEMORY_KIB)),
        Some(Packing::Zstd) => {
            let decoder = StreamingDecoder::new(stream).map_err(|error| damaged(io::Error::other(error)))?;
            Box::new(decoder)
        }
        Some(Packing::Tar) => Box::new(stream),
        Some(Packing::Other(format)) => return Err(unsupported(format)),
        None => return Err(unsupported("no format that is known")),
    };
    taken(unpacked.take(UNPACKED_BYTES_MAX), limits, is_wanted).map_err(damaged)
}

fn taken(unpacked: impl Read, limits: Limits, is_wanted: impl Fn(&str) -> bool) -> io::Result<Members> {
    let mut taken = Members::default();
    let mut bytes_left = limits.bytes;
    let mut archive = tar::Archive::new(unpacked);
    for (number, entry) in archive.entries()?.enumerate() {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) if number == 0 => return Err(error),
            Err(error) => {
                taken.notes.push(format!("the archive ends early, after {number} files: {error}"));
                break;
            }
        };
        if number == ENTRIES_MAX {
            taken.notes.push(format!("more than {ENTRIES_MAX} files: the others are not looked at"));
            break;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // Links lead to what is there under its own name.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        taken.paths.push(path.clone());
        if !is_wanted(&path) {
            continue;
        }
        let size = entry.size();
        if size > limits.member_bytes {
            taken.notes.push(format!("{path}: it has {size} bytes; {} are the limit", limits.member_bytes));
        } else if size > bytes_left || taken.members.len() == limits.members {
            taken.notes.push(format!("{path} and what follows: there is too much to read"));
            break;
        } else {
            let mut bytes = Vec::new();
            let read = entry.read_to_end(&mut bytes);
            // tar's reader takes an end in the midst of a file for the file's.
            if read.as_ref().is_ok_and(|read| *read as u64 == size) {
                bytes_left -= size;
                taken.members.push(Member { path, bytes });
                continue;
            }
            let why = read.err().map_or(String::new(), |error| format!(": {error}"));
            taken.notes.push(format!("{path}: the archive ends in it{why}"));
            break;
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    const LIMITS: Limits = Limits { members: 3, member_bytes: 100, bytes: 250 };

    fn tar_of(files: &[(&str, usize)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, size) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(*size as u64);
            header.set_mode(0o600);
            builder.append_data(&mut header, path, &vec![b'x'; *size][..]).unwrap();
        }
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "wanted-link", "/etc/passwd").unwrap();
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> Result<Members, ArchiveError> {
        let begin = bytes[..bytes.len().min(BLOCK)].to_vec();
        members_of("a.tar", &begin, Cursor::new(bytes), LIMITS, |path| path.starts_with("wanted"))
    }

    fn names(members: &Members) -> Vec<&str> {
        members.members.iter().map(|member| member.path.as_str()).collect()
    }

    #[test]
    fn wanted_files_of_each_packing_are_taken_and_links_are_not() {
        let tar = tar_of(&[("wanted-a", 10), ("other", 5000), ("wanted-b", 20)]);
        let xz = include_bytes!("../../tests/data/archive.tar.xz").to_vec();
        for bytes in [tar.clone(), gzip(&tar), xz] {
            let members = read(bytes).unwrap();
            assert_eq!(names(&members), ["wanted-a", "wanted-b"]);
            assert_eq!(members.members[1].bytes.len(), 20);
            assert_eq!(members.paths.len(), 3);
            assert!(members.notes.is_empty(), "{:?}", members.notes);
        }
    }

    #[test]
    fn what_is_too_large_or_too_much_is_left_out_with_a_note() {
        let members = read(tar_of(&[("wanted-large", 101), ("wanted-a", 10)])).unwrap();
        assert_eq!(names(&members), ["wanted-a"]);
        assert!(members.notes[0].contains("101 bytes"), "{:?}", members.notes);
        let members = read(tar_of(&[("wanted-a", 100), ("wanted-b", 100), ("wanted-c", 100)])).unwrap();
        assert_eq!(names(&members), ["wanted-a", "wanted-b"]);
        assert!(members.notes[0].contains("too much"), "{:?}", members.notes);
    }

    #[test]
    fn an_archive_that_ends_early_gives_what_is_there_and_says_so() {
        let tar = tar_of(&[("wanted-a", 10), ("wanted-b", 90)]);
        let members = read(tar[..3 * BLOCK + 40].to_vec()).unwrap();
        assert_eq!(names(&members), ["wanted-a"]);
        assert!(members.notes[0].contains("ends"), "{:?}", members.notes);
    }

    #[test]
    fn what_is_no_archive_is_an_error_with_a_reason() {
        let bzip2 = read(b"BZh91AY&SY".to_vec()).unwrap_err().to_string();
        assert!(bzip2.contains("bzip2") && bzip2.contains("hint:"), "{bzip2}");
        assert!(matches!(read(b"\x1f\x8bnothing".to_vec()), Err(ArchiveError::Damaged { .. })));
        assert!(!is_archive(b"2: eth0: <UP>") && !is_archive(b""));
    }
}
