//! An empty ext4 file system, byte by byte, so that a guest needs no program of the
//! host's for it, and each has the same one: no time, no random number is in it.
//!
//! One group of blocks with a journal; the features are those without which this kind
//! of file would not be what ext4 has by default: extents, a journal, and large inodes.
//! Documentation/filesystems/ext4 has the layout.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK_BYTES: u64 = 4096;
/// 32 MiB, most of which is a hole in the image.
const BLOCKS: u32 = 8192;
/// What one block of bitmap can tell of.
const BLOCKS_PER_GROUP: u32 = 8 * BLOCK_BYTES as u32;
const INODE_BYTES: u32 = 256;
const INODES: u32 = 256;
/// The first that is not for the file system's own use.
const FIRST_INODE: u32 = 11;
const ROOT_INODE: u32 = 2;
const JOURNAL_INODE: u32 = 8;
/// The least that a journal can have (include/linux/jbd2.h).
const JOURNAL_BLOCKS: u32 = 1024;

/// Where things are, in blocks; the superblock is in block 0, at [`SUPERBLOCK_AT`].
const GROUP_AT: u32 = 1;
const BLOCK_BITMAP_AT: u32 = 2;
const INODE_BITMAP_AT: u32 = 3;
const INODES_AT: u32 = 4;
const ROOT_AT: u32 = INODES_AT + INODES * INODE_BYTES / BLOCK_BYTES as u32;
const JOURNAL_AT: u32 = ROOT_AT + 1;
const USED_BLOCKS: u32 = JOURNAL_AT + JOURNAL_BLOCKS;
const SUPERBLOCK_AT: u64 = 1024;

/// Links of a directory without others in it: its name and its own dot.
const LINKED_TO_ITSELF: u32 = 2;

/// Writes it into `image`, which is empty.
pub fn write(image: &File) -> io::Result<()> {
    image.set_len(u64::from(BLOCKS) * BLOCK_BYTES)?;
    image.write_all_at(&superblock(), SUPERBLOCK_AT)?;
    let blocks: [(u32, Vec<u8>); 6] = [
        (GROUP_AT, group()),
        (BLOCK_BITMAP_AT, bitmap(USED_BLOCKS, BLOCKS)),
        (INODE_BITMAP_AT, bitmap(FIRST_INODE - 1, INODES)),
        (INODES_AT, inodes()),
        (ROOT_AT, root()),
        (JOURNAL_AT, journal()),
    ];
    for (block, bytes) in blocks {
        image.write_all_at(&bytes, u64::from(block) * BLOCK_BYTES)?;
    }
    Ok(())
}

/// Bytes at offsets, little-endian.
struct Fields(Vec<u8>);

impl Fields {
    fn of(bytes: usize) -> Fields {
        Fields(vec![0; bytes])
    }

    fn u16(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

/// struct ext4_super_block.
fn superblock() -> Vec<u8> {
    const HAS_JOURNAL: u32 = 0x4;
    const FILETYPE: u32 = 0x2;
    const EXTENTS: u32 = 0x40;
    const SPARSE_SUPER: u32 = 0x1;
    const LARGE_FILE: u32 = 0x2;
    const EXTRA_ISIZE: u32 = 0x40;
    const UUID: &[u8; 16] = b"inflight's ext4.";
    let mut fields = Fields::of(1024);
    for (at, value) in [
        (0x00, INODES),
        (0x04, BLOCKS),
        (0x0c, BLOCKS - USED_BLOCKS),
        (0x10, INODES - (FIRST_INODE - 1)),
        // Blocks and clusters of 1024 << 2 bytes.
        (0x18, 2),
        (0x1c, 2),
        (0x20, BLOCKS_PER_GROUP),
        (0x24, BLOCKS_PER_GROUP),
        (0x28, INODES),
        // The revision that has features.
        (0x4c, 1),
        (0x54, FIRST_INODE),
        (0x5c, HAS_JOURNAL),
        (0x60, FILETYPE | EXTENTS),
        (0x64, SPARSE_SUPER | LARGE_FILE | EXTRA_ISIZE),
        (0xe0, JOURNAL_INODE),
    ] {
        fields.u32(at, value);
    }
    for (at, value) in [
        (0x38, 0xef53),
        // Clean, and an error is only told.
        (0x3a, 1),
        (0x3c, 1),
        (0x58, INODE_BYTES as u16),
        (0x15c, EXTRA_INODE_BYTES),
        (0x15e, EXTRA_INODE_BYTES),
    ] {
        fields.u16(at, value);
    }
    fields.0[0x68..0x78].copy_from_slice(UUID);
    fields.0
}

/// How much of what is new in large inodes is used.
const EXTRA_INODE_BYTES: u16 = 32;

/// struct ext4_group_desc of the only group.
fn group() -> Vec<u8> {
    const DIRECTORIES: u16 = 1;
    let mut fields = Fields::of(32);
    fields.u32(0x0, BLOCK_BITMAP_AT);
    fields.u32(0x4, INODE_BITMAP_AT);
    fields.u32(0x8, INODES_AT);
    fields.u16(0xc, (BLOCKS - USED_BLOCKS) as u16);
    fields.u16(0xe, (INODES - (FIRST_INODE - 1)) as u16);
    fields.u16(0x10, DIRECTORIES);
    fields.0
}

/// The first `used` bits, and those of what there is not.
fn bitmap(used: u32, all: u32) -> Vec<u8> {
    let mut bytes = vec![0_u8; BLOCK_BYTES as usize];
    for bit in (0..used).chain(all..8 * BLOCK_BYTES as u32) {
        bytes[bit as usize / 8] |= 1 << (bit % 8);
    }
    bytes
}

fn inodes() -> Vec<u8> {
    let mut table = vec![0; (INODES * INODE_BYTES) as usize];
    let (directory, file) = (0o040_755, 0o100_600);
    for (number, bytes) in [
        (ROOT_INODE, inode(directory, LINKED_TO_ITSELF, ROOT_AT, 1)),
        (JOURNAL_INODE, inode(file, 1, JOURNAL_AT, JOURNAL_BLOCKS)),
    ] {
        // Counted from 1.
        let at = ((number - 1) * INODE_BYTES) as usize;
        table[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    table
}

/// struct ext4_inode of what has all its blocks in a row.
fn inode(mode: u16, links: u32, first_block: u32, blocks: u32) -> Vec<u8> {
    const EXTENTS_FLAG: u32 = 0x8_0000;
    const EXTENT_MAGIC: u16 = 0xf30a;
    const EXTENTS_IN_INODE: u16 = 4;
    const SECTORS_PER_BLOCK: u32 = BLOCK_BYTES as u32 / 512;
    let mut fields = Fields::of(INODE_BYTES as usize);
    fields.u16(0x0, mode);
    fields.u32(0x4, blocks * BLOCK_BYTES as u32);
    fields.u16(0x1a, links as u16);
    fields.u32(0x1c, blocks * SECTORS_PER_BLOCK);
    fields.u32(0x20, EXTENTS_FLAG);
    // struct ext4_extent_header, and the one struct ext4_extent.
    fields.u16(0x28, EXTENT_MAGIC);
    fields.u16(0x2a, 1);
    fields.u16(0x2c, EXTENTS_IN_INODE);
    fields.u16(0x38, blocks as u16);
    fields.u32(0x3c, first_block);
    fields.u16(0x80, EXTRA_INODE_BYTES);
    fields.0
}

/// The root directory, with nothing in it.
fn root() -> Vec<u8> {
    const DIRECTORY: u8 = 2;
    const DOT_BYTES: u16 = 12;
    let mut fields = Fields::of(BLOCK_BYTES as usize);
    let mut entry = |at: usize, bytes: u16, name: &[u8]| {
        fields.u32(at, ROOT_INODE);
        fields.u16(at + 4, bytes);
        fields.0[at + 6] = name.len() as u8;
        fields.0[at + 7] = DIRECTORY;
        fields.0[at + 8..at + 8 + name.len()].copy_from_slice(name);
    };
    entry(0, DOT_BYTES, b".");
    entry(DOT_BYTES.into(), BLOCK_BYTES as u16 - DOT_BYTES, b"..");
    fields.0
}

/// struct journal_superblock_s of a journal that has nothing to say. Big-endian.
fn journal() -> Vec<u8> {
    const MAGIC: u32 = 0xc03b_3998;
    const SUPERBLOCK_V2: u32 = 4;
    let mut bytes = vec![0; 1024];
    for (at, value) in [
        (0x00, MAGIC),
        (0x04, SUPERBLOCK_V2),
        (0x0c, BLOCK_BYTES as u32),
        (0x10, JOURNAL_BLOCKS),
        // The first block of the log, the first commit in it; it begins nowhere.
        (0x14, 1),
        (0x18, 1),
        // File systems that use it.
        (0x40, 1),
    ] {
        let value: u32 = value;
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_checks_such_file_systems_finds_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let image = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        write(&image).unwrap();
        // The guests mount it, which is the test that counts; the host's program sees
        // more, where there is one.
        let mut fsck = Command::new("/usr/sbin/e2fsck");
        let Ok(output) = fsck.args(["-f", "-n"]).arg(&path).output() else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        // It misses lost+found, which nothing else needs.
        let faults: Vec<&str> = (said.lines())
            .filter(|line| line.ends_with("? no") && !line.contains("lost+found"))
            .collect();
        assert!(faults.is_empty(), "{said}");
        assert!(
            said.contains("10/256 files") || said.contains("11/256 files"),
            "{said}"
        );
    }
}
