//! `recv`, as in 2008: the same as `inflight recv`.

fn main() -> std::process::ExitCode {
    inflight::cli::main_of_recv()
}
