//! The legacy LZ4 frame, which `CONFIG_KERNEL_LZ4` images carry (Debian 11's are such).
//!
//! Format: the magic, then for each block its compressed size (u32, little endian) and its bytes. The block
//! format is that of lib/lz4/lz4_decompress.c in the kernel.

/// First bytes of a legacy LZ4 stream.
pub const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// The stream is cut short or refers to what is not there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("damaged lz4 data at byte {offset}")]
pub struct Lz4Error {
    /// Where in the compressed bytes.
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
        decompress_block(block, &mut out).map_err(|error| Lz4Error { offset: block_start + error.offset })?;
        rest = next;
    }
    Ok(out)
}

fn decompress_block(block: &[u8], out: &mut Vec<u8>) -> Result<(), Lz4Error> {
    const MATCH_MIN: usize = 4;
    let mut input = Input { bytes: block, at: 0 };
    while input.at < block.len() {
        let token = input.take(1)?[0];
        let literals = input.length(token >> 4)?;
        out.extend_from_slice(input.take(literals)?);
        // The last sequence of a block has literals only.
        if input.at == block.len() {
            break;
        }
        let offset_bytes = input.take(2)?;
        let back = usize::from(u16::from_le_bytes([offset_bytes[0], offset_bytes[1]]));
        let length = input.length(token & 0x0f)? + MATCH_MIN;
        if back == 0 || back > out.len() {
            return Err(Lz4Error { offset: input.at });
        }
        let start = out.len() - back;
        if back >= length {
            out.extend_from_within(start..start + length);
        } else {
            // The match runs into what it writes: that is how lz4 says "repeat".
            for index in start..start + length {
                out.push(out[index]);
            }
        }
    }
    Ok(())
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Lz4Error> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(Lz4Error { offset: self.at })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A length of 15 goes on in bytes that are added up until one is not 255.
    fn length(&mut self, nibble: u8) -> Result<usize, Lz4Error> {
        let mut length = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = self.take(1)?[0];
                length += usize::from(more);
                if more != 255 {
                    break;
                }
            }
        }
        Ok(length)
    }
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
