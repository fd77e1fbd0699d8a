//! `send`, as in 2008: the same as `inflight send`.

fn main() -> std::process::ExitCode {
    inflight::cli::main_of_send()
}
