//! Reads a Debian package: an ar(5) archive whose member `data.tar.*` holds the files (deb(5)).

use std::io::{self, Read};

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;

use crate::kernel::decompress::zstd_reader;
use crate::kernel::limited::{Limited, UNPACKED_BYTES_MAX};
use bondlab_core::net::inner_path::{InnerPath, UnsafeName};

/// Why a package could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// No ar magic.
    #[error("not a Debian package: it does not begin as an ar archive")]
    NotAr,
    /// An ar header that makes no sense.
    #[error("damaged package: bad header of the ar member {0:?}")]
    BadMember(String),
    /// The archive ended before `data.tar.*`.
    #[error("damaged package: no data.tar member")]
    NoData,
    /// A compression dpkg knows and this reader does not.
    #[error(
        "unsupported package compression: {0}; data.tar, data.tar.gz, data.tar.xz and data.tar.zst are read"
    )]
    Unsupported(String),
    /// A file that would be outside of wherever the package is unpacked.
    #[error("hostile package: {0}")]
    Outside(#[from] UnsafeName),
    /// The bytes could not be read or decompressed.
    #[error("cannot read the package: {0}")]
    Io(#[from] io::Error),
}

/// Calls `visit` with the path (no leading `./`) and content of each regular file, in archive order. Links are none.
///
/// # Errors
/// When the package is damaged, unpacks to more than [`UNPACKED_BYTES_MAX`], or a file in it has a path that leads out of it.
pub fn for_each_file(
    mut deb: impl Read,
    mut visit: impl FnMut(&InnerPath, &mut dyn Read) -> io::Result<()>,
) -> Result<(), DebError> {
    let (name, size) = find_data(&mut deb)?;
    let data = deb.take(size);
    let tar: Box<dyn Read> = match name.as_str() {
        "data.tar" => Box::new(data),
        "data.tar.gz" => Box::new(GzDecoder::new(data)),
        "data.tar.xz" => Box::new(XzReader::new(data, false)),
        "data.tar.zst" => Box::new(zstd_reader(data)?),
        _ => return Err(DebError::Unsupported(name)),
    };
    let mut archive = tar::Archive::new(Limited::new(tar, UNPACKED_BYTES_MAX));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = InnerPath::parse(path.strip_prefix("./").unwrap_or(&path))?;
            visit(&path, &mut entry)?;
        }
    }
    // The tar archive ends before the compressed stream does, and the stream's check sum is at its end.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

/// Skips to the content of `data.tar.*`; its full name and size.
fn find_data(deb: &mut impl Read) -> Result<(String, u64), DebError> {
    let mut magic = [0; 8];
    match deb.read_exact(&mut magic) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(DebError::NotAr),
        read => read?,
    }
    if &magic != b"!<arch>\n" {
        return Err(DebError::NotAr);
    }
    let mut header = [0; 60];
    loop {
        match deb.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(DebError::NoData);
            }
            read => read?,
        }
        let field = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim().to_owned();
        let name = field(0..16).trim_end_matches('/').to_owned();
        let (Ok(size), b"`\n") = (field(48..58).parse::<u64>(), &header[58..]) else {
            return Err(DebError::BadMember(name));
        };
        if name.starts_with("data.tar") {
            return Ok((name, size));
        }
        // Members begin on even bytes.
        let padded = size.next_multiple_of(2);
        if io::copy(&mut deb.take(padded), &mut io::sink())? != padded {
            return Err(DebError::NoData);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
        let mut bytes = [header.as_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    }

    fn deb(members: &[Vec<u8>]) -> Vec<u8> {
        [b"!<arch>\n".to_vec(), members.concat()].concat()
    }

    fn files(deb: &[u8]) -> Result<Vec<(String, String)>, DebError> {
        let mut found = Vec::new();
        for_each_file(deb, |path, content| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            found.push((path.to_string(), text));
            Ok(())
        })?;
        Ok(found)
    }

    /// `boot/config-1` with the content `CONFIG_BONDING=m`, as `tar -cJ` has it.
    const DATA: &[u8] = include_bytes!("../../../tests/data/config.tar.xz");
    const DATA_ZST: &[u8] = include_bytes!("../../../tests/data/config.tar.zst");

    #[test]
    fn finds_the_files() {
        for (name, data) in [("data.tar.xz", DATA), ("data.tar.zst/", DATA_ZST)] {
            let deb = deb(&[
                member("debian-binary", b"2.0\n"),
                member("control.tar.xz", b"odd"),
                member(name, data),
            ]);
            let expected = ("boot/config-1".to_owned(), "CONFIG_BONDING=m\n".to_owned());
            assert_eq!(files(&deb).unwrap(), [expected]);
        }
    }

    #[test]
    fn a_gzip_member_is_read() {
        let mut tar = Vec::new();
        XzReader::new(DATA, false).read_to_end(&mut tar).unwrap();
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(&tar[..], flate2::Compression::fast()).read_to_end(&mut gzip).unwrap();
        let deb = deb(&[member("debian-binary", b"2.0\n"), member("data.tar.gz", &gzip)]);
        assert_eq!(files(&deb).unwrap(), [("boot/config-1".to_owned(), "CONFIG_BONDING=m\n".to_owned())]);
    }

    #[test]
    fn damage_is_an_error() {
        assert!(matches!(files(b"!<nope>\n"), Err(DebError::NotAr)));
        assert!(matches!(files(b"PK"), Err(DebError::NotAr)));
        assert!(matches!(files(&deb(&[member("debian-binary", b"2.0\n")])), Err(DebError::NoData)));
        assert!(matches!(files(&deb(&[member("data.tar.bz2", b"")])), Err(DebError::Unsupported(_))));
        let mut bad = deb(&[member("data.tar.xz", DATA)]);
        bad[8 + 48] = b'x';
        assert!(matches!(files(&bad), Err(DebError::BadMember(_))));
        let short = deb(&[member("data.tar.xz", &DATA[..DATA.len() - 20])]);
        assert!(files(&short).is_err());
    }
}
