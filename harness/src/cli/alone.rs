//! `send` and `recv` as programs of their own, under the names of 2008.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Command};

use super::{Failure, Status, exit, recv, send};

/// Runs this process as `send`.
pub fn main_of_send() -> ExitCode {
    main_of("send", send::run)
}

/// Runs this process as `recv`.
pub fn main_of_recv() -> ExitCode {
    main_of("recv", recv::run)
}

fn main_of<A: Args>(name: &'static str, run: fn(&A) -> Result<Status, Failure>) -> ExitCode {
    std::panic::catch_unwind(|| main_from(name, run, std::env::args_os()))
        .unwrap_or(ExitCode::from(Status::Internal as u8))
}

fn main_from<A: Args>(
    name: &'static str,
    run: fn(&A) -> Result<Status, Failure>,
    args: impl IntoIterator<Item = OsString>,
) -> ExitCode {
    let parsed = command::<A>(name)
        .try_get_matches_from(args)
        .and_then(|matches| A::from_arg_matches(&matches));
    match parsed {
        Ok(args) => exit(name, run(&args)),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(match error.use_stderr() {
                true => Status::Usage as u8,
                false => Status::Held as u8,
            })
        }
    }
}

fn command<A: Args>(name: &'static str) -> Command {
    A::augment_args(Command::new(name).version(env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_they_take_what_the_subcommands_take() {
        command::<send::Args>("send").debug_assert();
        command::<recv::Args>("recv").debug_assert();
        let send = "send -a ::1 -p 2008 -f FILE -c 4096".split(' ');
        let matches = command::<send::Args>("send").try_get_matches_from(send);
        <send::Args as clap::FromArgMatches>::from_arg_matches(&matches.unwrap()).unwrap();
        let help = command::<recv::Args>("recv").render_long_help().to_string();
        assert!(
            help.contains("every byte is zero") && help.contains("Exit status"),
            "{help}"
        );
    }
}
