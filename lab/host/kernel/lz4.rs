//! The legacy LZ4 frame, which `CONFIG_KERNEL_LZ4` images carry (Debian 11's are such).
//!
//! Format: the magic, then for each block its compressed size (u32, little endian) and its bytes. Blocks are independent of each
//! other, and hold at most 8 MB (lib/decompress_unlz4.c, `LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE`).

/// First bytes of a legacy LZ4 stream.
pub const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Of a block without compression.
const BLOCK_BYTES_MAX: usize = 8 << 20;

/// The stream is cut short or refers to what is not there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("damaged lz4 data at byte {offset}")]
pub struct Lz4Error {
    /// Where the damaged block begins in the compressed bytes.
    pub offset: usize,
}

/// Decompresses a whole legacy stream.
///
/// A block size larger than the bytes left ends the stream: the kernel's build appends the uncompressed
/// size, four bytes, which reads as such a block (scripts/Makefile.lib, `size_append`).
pub fn decompress(stream: &[u8]) -> Result<Vec<u8>, Lz4Error> {
    let damaged = Lz4Error { offset: 0 };
    let mut rest = stream.strip_prefix(&MAGIC).ok_or(damaged)?;
    let mut out = Vec::with_capacity(stream.len() * 4);
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let Some((block, next)) = after.split_at_checked(u32::from_le_bytes(*size) as usize) else {
            break;
        };
        let block_start = stream.len() - after.len();
        let block = lz4_flex::block::decompress(block, BLOCK_BYTES_MAX);
        out.extend(block.map_err(|_| Lz4Error { offset: block_start })?);
        rest = next;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(block: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &(block.len() as u32).to_le_bytes(), block].concat()
    }

    #[test]
    fn literals_matches_and_the_appended_size() {
        // "ab", then 6 bytes from 2 back, then "c".
        let mut bytes = stream(&[0x22, b'a', b'b', 2, 0, 0x10, b'c']);
        assert_eq!(decompress(&bytes).unwrap(), b"ababababc");
        bytes.extend_from_slice(&9u32.to_le_bytes());
        assert_eq!(decompress(&bytes).unwrap(), b"ababababc");
    }

    #[test]
    fn long_lengths() {
        let mut block = vec![0xf0, 255, 5];
        block.extend(std::iter::repeat_n(b'x', 15 + 255 + 5));
        assert_eq!(decompress(&stream(&block)).unwrap().len(), 275);
    }

    #[test]
    fn damage_is_an_error() {
        for block in [&[0x22, b'a'][..], &[0x10, b'a', 5, 0], &[0x10, b'a', 0, 0], &[0xf0, 255]] {
            assert!(decompress(&stream(block)).is_err(), "{block:?}");
        }
        assert!(decompress(b"elf").is_err());
    }
}
