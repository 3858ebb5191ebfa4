//! A small zip writer that stores files without compressing them.
//!
//! Format: local headers with the data, then the central directory, then its end record
//! (APPNOTE 6.3, sections 4.3.7, 4.3.12 and 4.3.16). No zip64: the limits below keep it unneeded.

use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;

/// Bytes of one archive.
const ARCHIVE_BYTES: usize = 512 * 1024 * 1024;
/// Files of one archive.
const ARCHIVE_FILES: usize = 60_000;
/// Names are UTF-8 (general purpose bit 11).
const UTF8: u16 = 0x0800;
/// 1 January 2000 in MS-DOS form.
const DATE: u16 = (20 << 9) | (1 << 5) | 1;

/// An archive being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

impl Archive {
    /// Adds a file.
    ///
    /// # Errors
    /// 400 when the archive would grow beyond its limits.
    pub fn add(&mut self, name: &str, content: &[u8]) -> Outcome<()> {
        if self.bytes.len() + content.len() > ARCHIVE_BYTES || usize::from(self.files) >= ARCHIVE_FILES {
            return Err(Refusal::invalid("path (the folder is too large for one archive)"));
        }
        let too_large = || Refusal::invalid("path (the folder is too large for one archive)");
        let at = u32::try_from(self.bytes.len()).map_err(|_| too_large())?;
        let size = u32::try_from(content.len()).map_err(|_| too_large())?;
        let length = u16::try_from(name.len()).map_err(|_| too_large())?;
        let mut shared = Vec::new();
        for word in [20u16, UTF8, 0, 0, DATE] {
            shared.extend(word.to_le_bytes());
        }
        for word in [crc32(content), size, size] {
            shared.extend(word.to_le_bytes());
        }
        shared.extend(length.to_le_bytes());
        shared.extend(0u16.to_le_bytes());
        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&shared);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(20u16.to_le_bytes());
        self.directory.extend(&shared);
        self.directory.extend([0u8; 10]);
        self.directory.extend(at.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.files += 1;
        Ok(())
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        // Both fit: `add` keeps the archive far below 4 GiB.
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let size = u32::try_from(self.directory.len()).unwrap_or(u32::MAX);
        self.bytes.extend(&self.directory);
        self.bytes.extend(b"PK\x05\x06");
        self.bytes.extend([0u8; 4]);
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0u8; 2]);
        self.bytes
    }
}

/// CRC-32 as zip wants it (polynomial 0xEDB88320), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_one_and_the_archive_has_its_parts() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let mut archive = Archive::default();
        archive.add("a/b.txt", b"hello").unwrap();
        archive.add("c", b"").unwrap();
        let bytes = archive.finish();
        assert_eq!(bytes.windows(4).filter(|w| *w == b"PK\x01\x02").count(), 2);
        assert_eq!(&bytes[bytes.len() - 22..][..4], b"PK\x05\x06");
        assert_eq!(u16::from_le_bytes([bytes[bytes.len() - 12], bytes[bytes.len() - 11]]), 2);
    }
}
