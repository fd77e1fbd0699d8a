//! What the kernel logs while a scenario runs.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// What makes warnings that come once only come again.
const FORGETS_FILE: &str = "/sys/kernel/debug/clear_warn_once";

/// The kernel's log from now on, by /dev/kmsg.
#[derive(Debug)]
pub struct KernelLog {
    records: File,
    buffer: Vec<u8>,
}

impl KernelLog {
    /// Starts behind what has been logged so far.
    pub fn open() -> io::Result<KernelLog> {
        let mut records = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")?;
        records.seek(SeekFrom::End(0))?;
        Ok(KernelLog {
            records,
            // The longest record that the kernel makes (CONSOLE_EXT_LOG_MAX).
            buffer: vec![0; 8192],
        })
    }

    /// The lines since the last call, without their prefixes; empty: nothing new.
    pub fn news(&mut self) -> io::Result<String> {
        let mut text = String::new();
        loop {
            match self.records.read(&mut self.buffer) {
                Ok(len) => {
                    let record = String::from_utf8_lossy(&self.buffer[..len]);
                    // "level,sequence,time,flags;message"
                    let message = record.split_once(';').map_or(&*record, |(_, text)| text);
                    text.push_str(message);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(text),
                // Records were overwritten before they were read; go on behind.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets the kernel warn again of what it warns of once only, so that the scenario
    /// that has shown it can show it again. Where that cannot be it comes after a boot.
    pub fn rearm(&self) {
        let _ = fs::write(FORGETS_FILE, "1");
    }
}
