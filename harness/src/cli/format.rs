//! For people or for programs.

use std::fmt::Display;
use std::io::{self, Write};

use super::{Failure, Status};

/// How results are printed on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table
    #[default]
    Human,
    /// One object a line
    Json,
}

/// Prints `text` to standard output as it is. A reader who has gone away (`| head`)
/// has seen what they wanted: that is no error, and the exit status stays the
/// verdict's.
///
/// # Errors
/// Standard output cannot be written, e.g. because its disk is full.
pub fn print(text: &str) -> Result<(), Failure> {
    print_to(&mut io::stdout().lock(), text)
}

fn print_to(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure {
            status: Status::Missing,
            error: anyhow::Error::new(error).context("cannot write to standard output"),
        }),
        _ => Ok(()),
    }
}

/// A line of prose on standard error. Unlike `eprintln!` it does not panic where
/// nobody listens or the disk of a log is full: no result is lost for a remark.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refuses(io::ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_may_leave_and_a_full_disk_is_told() {
        print_to(&mut Refuses(io::ErrorKind::BrokenPipe), "text").unwrap();
        let failure = print_to(&mut Refuses(io::ErrorKind::StorageFull), "text").unwrap_err();
        assert_eq!(failure.status, Status::Missing);
        assert!(failure.to_string().contains("standard output"), "{failure}");
    }
}
