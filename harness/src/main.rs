//! The one binary: see [`inflight::cli`]. Inside a kernel it is the first process
//! as well.

fn main() -> std::process::ExitCode {
    inflight::guest::init::main_if_pid1();
    inflight::cli::main()
}
