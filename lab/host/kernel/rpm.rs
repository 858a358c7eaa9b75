//! Reads an RPM package: a lead, two headers, and a compressed cpio archive with the files (rpm's docs/manual/format_v4.md).
//!
//! Only the lengths of the headers are needed to find the archive, so nothing else in them is interpreted: the crates for
//! RPM index into them by offsets of the file's.

use std::io::{self, Read};

use cpio::newc;

use crate::kernel::decompress::{DecompressError, reader};
use crate::kernel::limited::{Limited, UNPACKED_BYTES_MAX};
use bondlab_core::net::inner_path::{InnerPath, UnsafeName};

/// First bytes of the lead.
const LEAD_MAGIC: &[u8] = b"\xed\xab\xee\xdb";
const LEAD_BYTES: usize = 96;
/// First bytes of a header, with its version.
const HEADER_MAGIC: &[u8] = b"\x8e\xad\xe8\x01";
const HEADER_INTRO_BYTES: usize = 16;
/// An entry of a header's index: tag, type, offset, count.
const INDEX_ENTRY_BYTES: u64 = 16;
/// rpm's own limit (lib/header.c, `hdrchkData`): 256 MiB.
const HEADER_BYTES_MAX: u64 = 256 << 20;
/// A cpio header and the longest name that is read.
const ENTRY_HEADER_BYTES_MAX: u64 = 8 << 10;

const S_IFMT: u32 = 0o170000;
const S_IFREG: u32 = 0o100000;

/// Why a package could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RpmError {
    /// No lead.
    #[error("not an RPM package: it does not begin with an RPM lead")]
    NotRpm,
    /// A header that makes no sense.
    #[error("damaged package: bad {0} header")]
    BadHeader(&'static str),
    /// The payload's compression is not read here.
    #[error("unsupported payload: {0}")]
    Payload(#[from] DecompressError),
    /// A file that would be outside of wherever the package is unpacked.
    #[error("hostile package: {0}")]
    Outside(#[from] UnsafeName),
    /// The bytes could not be read or decompressed.
    #[error("cannot read the package: {0}")]
    Io(#[from] io::Error),
}

/// Calls `visit` with the path (no leading `./` or `/`) and content of each regular file, in archive order. Links are none.
///
/// # Errors
/// When the package is damaged, unpacks to more than [`UNPACKED_BYTES_MAX`], or a file in it has a path that leads out of it.
pub fn for_each_file(
    mut rpm: impl Read,
    mut visit: impl FnMut(&InnerPath, &mut dyn Read) -> io::Result<()>,
) -> Result<(), RpmError> {
    let mut lead = [0; LEAD_BYTES];
    rpm.read_exact(&mut lead).map_err(|_| RpmError::NotRpm)?;
    if !lead.starts_with(LEAD_MAGIC) {
        return Err(RpmError::NotRpm);
    }
    // The signature is padded to the main header's alignment, the main header to none.
    skip_header(&mut rpm, "signature", 8)?;
    skip_header(&mut rpm, "main", 1)?;
    let mut payload = Limited::new(reader(rpm)?, UNPACKED_BYTES_MAX);
    let budget = payload.budget();
    loop {
        // An archive says how long a name is; the budget says how long one is read.
        let left = budget.left();
        let allowance = left.min(ENTRY_HEADER_BYTES_MAX);
        budget.set(allowance);
        let mut entry = newc::Reader::new(&mut payload)?;
        budget.set(left - (allowance - budget.left()));
        if entry.entry().is_trailer() {
            break;
        }
        if entry.entry().mode() & S_IFMT == S_IFREG {
            let name = entry.entry().name();
            let name = name.strip_prefix('.').unwrap_or(name);
            let path = InnerPath::parse(name.strip_prefix('/').unwrap_or(name))?;
            visit(&path, &mut entry)?;
        }
        entry.finish()?;
    }
    // The compressed stream's check sum is at its end.
    io::copy(&mut payload, &mut io::sink())?;
    Ok(())
}

fn skip_header(rpm: &mut impl Read, which: &'static str, alignment: u64) -> Result<(), RpmError> {
    let mut intro = [0; HEADER_INTRO_BYTES];
    rpm.read_exact(&mut intro)?;
    if !intro.starts_with(HEADER_MAGIC) {
        return Err(RpmError::BadHeader(which));
    }
    let number = |at: usize| intro[at..].first_chunk().map_or(0, |word| u64::from(u32::from_be_bytes(*word)));
    let length = number(8) * INDEX_ENTRY_BYTES + number(12);
    if length > HEADER_BYTES_MAX {
        return Err(RpmError::BadHeader(which));
    }
    let padded = length.next_multiple_of(alignment);
    if io::copy(&mut rpm.take(padded), &mut io::sink())? != padded {
        return Err(RpmError::BadHeader(which));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A header of no entries and `data` bytes.
    fn header(data: usize) -> Vec<u8> {
        let mut bytes = [HEADER_MAGIC, &[0; 8], &u32::try_from(data).unwrap().to_be_bytes()].concat();
        bytes.resize(HEADER_INTRO_BYTES + data, 0);
        bytes
    }

    fn archive(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, mode, content) in files {
            let entry = newc::Builder::new(name).mode(*mode);
            let mut writer = entry.write(&mut bytes, u32::try_from(content.len()).unwrap());
            writer.write_all(content).unwrap();
            writer.finish().unwrap();
        }
        newc::trailer(&mut bytes).unwrap();
        bytes
    }

    fn rpm(payload: &[u8]) -> Vec<u8> {
        let mut bytes = LEAD_MAGIC.to_vec();
        bytes.resize(LEAD_BYTES, 0);
        bytes.extend(header(5));
        bytes.extend([0; 3]);
        bytes.extend(header(3));
        bytes.extend(payload);
        bytes
    }

    fn files(rpm: &[u8]) -> Result<Vec<(String, String)>, RpmError> {
        let mut found = Vec::new();
        for_each_file(rpm, |path, content| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            found.push((path.to_string(), text));
            Ok(())
        })?;
        Ok(found)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn finds_the_files() {
        let archive = archive(&[
            ("./lib/modules/R", 0o040755, b""),
            ("./lib/modules/R/vmlinuz", S_IFREG | 0o755, b"image"),
            ("./lib/modules/R/build", 0o120777, b"/usr/src/kernels/R"),
            ("/lib/modules/R/config", S_IFREG | 0o644, b"CONFIG_BONDING=m\n"),
        ]);
        let expected = [("lib/modules/R/vmlinuz", "image"), ("lib/modules/R/config", "CONFIG_BONDING=m\n")];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let zstd =
            ruzstd::encoding::compress_to_vec(&archive[..], ruzstd::encoding::CompressionLevel::Fastest);
        for payload in [gzip(&archive), zstd, archive] {
            assert_eq!(files(&rpm(&payload)).unwrap(), expected);
        }
    }

    #[test]
    fn damage_is_an_error() {
        let good = archive(&[("./x", S_IFREG, b"1")]);
        assert!(matches!(files(b"PK\x03\x04"), Err(RpmError::NotRpm)));
        assert!(matches!(files(&rpm(b"BZh9")), Err(RpmError::Payload(_))));
        assert!(files(&rpm(&good[..good.len() - 30])).is_err(), "cut short");
        let mut bad = rpm(&good);
        bad[LEAD_BYTES] = 0;
        assert!(matches!(files(&bad), Err(RpmError::BadHeader("signature"))));
        let mut huge = rpm(&good);
        huge[LEAD_BYTES + 8..LEAD_BYTES + 16].fill(0xff);
        assert!(matches!(files(&huge), Err(RpmError::BadHeader("signature"))));
        for path in ["../x", "./../x", "./a/../../x", "//x", "./a//x", ""] {
            let hostile = archive(&[(path, S_IFREG, b"1")]);
            assert!(matches!(files(&rpm(&hostile)), Err(RpmError::Outside(_))), "{path}");
        }
        let long = "x".repeat(9000);
        assert!(matches!(files(&rpm(&archive(&[(&long, S_IFREG, b"1")]))), Err(RpmError::Io(_))));
    }
}
