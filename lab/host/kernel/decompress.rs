//! Decompression by what the bytes say they are.

use std::io::{self, BufReader, Read};

use flate2::read::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use crate::kernel::limited::Limited;
use crate::kernel::lz4;

/// The most that a kernel image or a module may decompress to. A kernel with all debugging information has half of it.
const BYTES_MAX: u64 = 1 << 30;

/// Why bytes could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// A known format that is not read here.
    #[error("{0} compression is not supported: gzip, xz, zstd and lz4 are")]
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

/// A compression format, recognised by its magic bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// xz, as `.ko.xz` and most kernel images.
    Xz,
    /// Zstandard.
    Zstd,
    /// gzip, as Alpine's and some vendors' modules.
    Gzip,
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
            (b"\x1f\x8b", Format::Gzip),
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
    match Format::of(&bytes) {
        Format::Plain => Ok(bytes),
        Format::Other(name) => Err(DecompressError::Unsupported(name)),
        Format::Lz4 => lz4::decompress(&bytes).map_err(|error| damaged("lz4")(io::Error::other(error))),
        Format::Gzip => read_all(GzDecoder::new(&bytes[..])).map_err(damaged("gzip")),
        Format::Xz => read_all(XzReader::new(&bytes[..], false)).map_err(damaged("xz")),
        Format::Zstd => zstd_reader(&bytes[..]).and_then(read_all).map_err(damaged("zstd")),
    }
}

fn read_all(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Limited::new(reader, BYTES_MAX).read_to_end(&mut out)?;
    Ok(out)
}

/// Reads a stream that may be compressed. A gzip or xz stream may have several parts, as `zstd`, `xz` and `pigz` write them.
///
/// # Errors
/// When it is compressed as nothing here reads, or cannot be read.
pub fn reader<'r>(source: impl Read + 'r) -> Result<Box<dyn Read + 'r>, DecompressError> {
    let mut source = BufReader::new(source);
    // A buffer of a pipe may begin with less; the longest magic has 6 bytes.
    let mut first = [0; 6];
    let mut length = 0;
    while length < first.len() {
        match source.read(&mut first[length..]).map_err(damaged("compressed"))? {
            0 => break,
            got => length += got,
        }
    }
    let whole = io::Cursor::new(first).take(length as u64).chain(source);
    match Format::of(&first[..length]) {
        Format::Plain => Ok(Box::new(whole)),
        Format::Gzip => Ok(Box::new(flate2::read::MultiGzDecoder::new(whole))),
        Format::Xz => Ok(Box::new(XzReader::new(whole, true))),
        Format::Zstd => Ok(Box::new(zstd_reader(whole).map_err(damaged("zstd"))?)),
        Format::Lz4 => Err(DecompressError::Unsupported("lz4 stream")),
        Format::Other(name) => Err(DecompressError::Unsupported(name)),
    }
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
    fn gzip_is_read_and_a_cut_stream_is_damaged() {
        let mut gzip = Vec::new();
        flate2::read::GzEncoder::new(&b"bond0"[..], flate2::Compression::fast())
            .read_to_end(&mut gzip)
            .unwrap();
        assert_eq!(decompress(gzip.clone()).unwrap(), b"bond0");
        assert!(decompress(gzip[..gzip.len() - 4].to_vec()).is_err());
        let mut streamed = Vec::new();
        reader(&gzip[..]).unwrap().read_to_end(&mut streamed).unwrap();
        assert_eq!(streamed, b"bond0");
    }

    #[test]
    fn refuses_the_rest() {
        let bzip2 = decompress(b"BZh9".to_vec()).unwrap_err();
        assert_eq!(bzip2.to_string(), "bzip2 compression is not supported: gzip, xz, zstd and lz4 are");
        for bytes in [XZ, ZSTD] {
            assert!(decompress(bytes[..bytes.len() - 6].to_vec()).is_err());
        }
    }
}
