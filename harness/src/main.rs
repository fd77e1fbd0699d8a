//! The one binary: see [`inflight::cli`].

fn main() -> std::process::ExitCode {
    inflight::cli::main()
}
