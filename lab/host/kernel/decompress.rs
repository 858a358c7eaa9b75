//! Decompression by what the bytes say they are.

use std::io::{self, Read};

use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use crate::host::kernel::lz4;

/// Why bytes could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// A known format that is not read here.
    #[error("{0} compression is not supported: xz, zstd and lz4 are")]
    Unsupported(&'static str),
    /// The stream is damaged.
    #[error("damaged {format} data: {source}")]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// What the decoder said.
        source: io::Error,
    },
}

/// A compression format, told by its magic bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// xz, as `.ko.xz` and most kernel images.
    Xz,
    /// Zstandard.
    Zstd,
    /// Legacy LZ4 frame.
    Lz4,
    /// Known, not read: its name.
    Other(&'static str),
    /// No known magic.
    Plain,
}

impl Format {
    /// What `bytes` begin as.
    pub fn of(bytes: &[u8]) -> Format {
        const MAGICS: [(&[u8], Format); 7] = [
            (b"\xfd7zXZ\0", Format::Xz),
            (b"\x28\xb5\x2f\xfd", Format::Zstd),
            (&lz4::MAGIC, Format::Lz4),
            (b"\x1f\x8b", Format::Other("gzip")),
            (b"BZh", Format::Other("bzip2")),
            (b"\x89LZO", Format::Other("lzo")),
            (b"\x5d\0\0", Format::Other("lzma")),
        ];
        let known = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic));
        known.map_or(Format::Plain, |(_, format)| *format)
    }
}

/// Decompresses the stream that `bytes` begin with; plain bytes come back as they are.
///
/// What follows the stream is not looked at: kernel images have their size there.
pub fn decompress(bytes: Vec<u8>) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    match Format::of(&bytes) {
        Format::Plain => return Ok(bytes),
        Format::Other(name) => return Err(DecompressError::Unsupported(name)),
        Format::Lz4 => {
            return lz4::decompress(&bytes).map_err(|error| damaged("lz4")(io::Error::other(error)));
        }
        Format::Xz => XzReader::new(&bytes[..], false).read_to_end(&mut out).map_err(damaged("xz"))?,
        Format::Zstd => zstd_reader(&bytes[..])
            .and_then(|mut reader| reader.read_to_end(&mut out))
            .map_err(damaged("zstd"))?,
    };
    Ok(out)
}

/// A streaming Zstandard reader.
pub fn zstd_reader<R: Read>(source: R) -> io::Result<impl Read> {
    StreamingDecoder::new(source).map_err(io::Error::other)
}

fn damaged(format: &'static str) -> impl Fn(io::Error) -> DecompressError {
    move |source| DecompressError::Damaged { format, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'bond0' | xz --check=crc32` and `| zstd`.
    const XZ: &[u8] = include_bytes!("../../../tests/data/bond0.xz");
    const ZSTD: &[u8] = include_bytes!("../../../tests/data/bond0.zst");

    #[test]
    fn reads_what_it_can() {
        for bytes in [XZ, ZSTD, b"bond0"] {
            assert_eq!(decompress(bytes.to_vec()).unwrap(), b"bond0");
            let followed = [bytes, &5u32.to_le_bytes()[..]].concat();
            assert!(decompress(followed).unwrap().starts_with(b"bond0"));
        }
    }

    #[test]
    fn refuses_the_rest() {
        let gzip = decompress(b"\x1f\x8b\x08\0".to_vec()).unwrap_err();
        assert_eq!(gzip.to_string(), "gzip compression is not supported: xz, zstd and lz4 are");
        for bytes in [XZ, ZSTD] {
            assert!(decompress(bytes[..bytes.len() - 6].to_vec()).is_err());
        }
    }
}
