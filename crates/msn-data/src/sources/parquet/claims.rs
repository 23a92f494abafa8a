//! What the pages of a column claim to unpack to, looked at before the `parquet` crate takes that much memory: it reserves
//! up to 2 GiB for a page of a few bytes.
//!
//! A page begins with a `PageHeader` (parquet-format, `parquet.thrift`) in Thrift's compact protocol: the field 2 is the
//! size of the page unpacked, 3 that in the file, after the header. All else is skipped.

use std::io::{self, Read};

use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;

use super::chunks::Chunks;

/// Every page may unpack to this many bytes, a hundred times what writers put into one.
const FREE_BYTES: u64 = 64 << 20;
/// A larger one to this many times its bytes in the file. Encoded images hardly shrink at all.
const MOST_TIMES: u64 = 64;

/// A header holds that of a data page, which holds its statistics.
const STRUCTS: usize = 4;

const UNPACKED: i64 = 2;
const PACKED: i64 = 3;

/// Looks at all pages of a column chunk.
///
/// # Errors
/// If a page claims more than [`FREE_BYTES`] and [`MOST_TIMES`] allow, or does not begin with a page header.
pub(super) fn check(chunks: &Chunks, column: &ColumnChunkMetaData) -> Result<()> {
    let (start, length) = column.byte_range();
    let end = start.saturating_add(length);
    let mut offset = start;
    while offset < end {
        let mut header = Compact { bytes: chunks.get_read(offset)?, taken: 0 };
        let Sizes { unpacked, packed } = header.page_sizes()?;
        if unpacked > FREE_BYTES && unpacked / MOST_TIMES > packed {
            return Err(ParquetError::General(format!(
                "expected a page at {offset} that unpacks to at most {MOST_TIMES} times its {packed} bytes, found \
                 {unpacked} bytes"
            )));
        }
        offset = offset.saturating_add(header.taken).saturating_add(packed);
    }
    Ok(())
}

/// Bytes of a page, without its header.
#[derive(Debug, PartialEq)]
struct Sizes {
    unpacked: u64,
    packed: u64,
}

/// Values in the compact protocol, as its specification in Thrift's `doc/specs` describes them.
struct Compact<R> {
    bytes: R,
    taken: u64,
}

impl<R: Read> Compact<R> {
    fn page_sizes(&mut self) -> Result<Sizes> {
        let (mut unpacked, mut packed) = (None, None);
        let mut id = 0;
        while let Some(kind) = self.field(&mut id)? {
            match (id, kind) {
                (UNPACKED, 5) => unpacked = Some(self.integer()?),
                (PACKED, 5) => packed = Some(self.integer()?),
                _ => self.skip(kind, STRUCTS)?,
            }
        }
        let size = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        match (size(unpacked), size(packed)) {
            (Some(unpacked), Some(packed)) => Ok(Sizes { unpacked, packed }),
            _ => Err(malformed("two sizes", format!("{unpacked:?} and {packed:?}"))),
        }
    }

    /// The kind of the next field of a struct, and its number into `id`, which holds that of the field before; `None`
    /// at the end of the struct.
    fn field(&mut self, id: &mut i64) -> Result<Option<u8>> {
        let byte = self.byte()?;
        let (step, kind) = (i64::from(byte >> 4), byte & 0xF);
        if kind == 0 {
            return Ok(None);
        }
        *id = if step == 0 { self.integer()? } else { id.saturating_add(step) };
        Ok(Some(kind))
    }

    /// `structs`: how many may lie in each other.
    fn skip(&mut self, kind: u8, structs: usize) -> Result<()> {
        match kind {
            // True and false, which their kind tells already.
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => {
                let length = self.varint()?;
                self.skip_bytes(length)
            }
            12 => {
                let inside = structs.checked_sub(1);
                let structs = inside.ok_or_else(|| malformed("fewer structs in each other", "one more"))?;
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, structs)?;
                }
                Ok(())
            }
            _ => Err(malformed("numbers, bytes and structs", format!("a value of kind {kind}"))),
        }
    }

    fn skip_bytes(&mut self, count: u64) -> Result<()> {
        let skipped = io::copy(&mut self.bytes.by_ref().take(count), &mut io::sink())?;
        self.taken += skipped;
        if skipped < count {
            return Err(malformed(format!("{count} bytes"), format!("{skipped} before the end")));
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.bytes.read_exact(&mut byte)?;
        self.taken += 1;
        Ok(byte[0])
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a number of at most 64 bits", "a longer one"))
    }

    /// A number with its sign, which is kept in the lowest bit.
    fn integer(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

fn malformed(expected: impl AsRef<str>, found: impl AsRef<str>) -> ParquetError {
    ParquetError::General(format!("page header: expected {}, found {}", expected.as_ref(), found.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: &[u8]) -> Result<(Sizes, u64)> {
        let mut header = Compact { bytes, taken: 0 };
        let sizes = header.page_sizes()?;
        Ok((sizes, header.taken))
    }

    #[test]
    fn sizes_are_found_among_the_other_fields() {
        // Field 1 = 0 (a data page), 2 = 300, 3 = 100, 5 = {1 = 4 values, 2 = {1 = a byte string}}, 9 = a double, end; written
        // by hand after the specification: 300 is 600 with the sign, 0xD8 0x04 in groups of seven bits.
        let header = [
            0x15, 0x00, 0x15, 0xD8, 0x04, 0x15, 0xC8, 0x01, 0x2C, 0x15, 0x08, 0x1C, 0x18, 0x02, 0xAA, 0xBB,
            0x00, 0x00, 0x47, 1, 2, 3, 4, 5, 6, 7, 8, 0x00, 0xFF,
        ];
        let (found, taken) = sizes(&header).unwrap();
        assert_eq!(found, Sizes { unpacked: 300, packed: 100 });
        assert_eq!(taken as usize, header.len() - 1);
    }

    #[test]
    fn the_last_of_two_claims_counts_as_it_does_for_the_reader() {
        // Field 2 = 1, field 3 = 1, then field 2 again with its number written out (id 2 is 4 with the sign).
        let (found, _) = sizes(&[0x25, 0x02, 0x15, 0x02, 0x05, 0x04, 0x7E, 0x00]).unwrap();
        assert_eq!(found, Sizes { unpacked: 63, packed: 1 });
    }

    #[test]
    fn headers_that_end_or_hold_no_sizes_are_errors() {
        for (header, expected) in [
            (&[0x15, 0x00, 0x15][..], "failed to fill"),
            (&[0x15, 0x00, 0x00], "two sizes"),
            (&[0x25, 0x01, 0x15, 0x02, 0x00], "two sizes"),
            (&[0x18, 0x05, 0x00], "5 bytes"),
            (&[0x1C; 9], "structs in each other"),
            (&[0x19, 0x00], "kind 9"),
            (&[0x16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], "64 bits"),
        ] {
            let message = sizes(header).unwrap_err().to_string();
            assert!(message.contains(expected), "{header:x?}: {message}");
        }
    }
}
