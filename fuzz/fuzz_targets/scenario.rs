//! Scenarios in the kernel under test:
//! `cargo fuzz run -s none --no-trace-compares scenario`.
#![no_main]

use inflight::fuzz::{Input, cross, enter, mutate};
use inflight_fuzz::{put, run};
use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};

fuzz_target!(init: enter(), |input: Input| run(&input));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let input = Input::leading(&data[..size]);
    // Longer ones are not kept: another try, with another seed, may be shorter.
    let mut near = (0..8).map(|it| Input(mutate(&input.0, seed.wrapping_add(it << 29))));
    near.find_map(|it| put(&it, data, max_size))
        // Whatever comes of it is a scenario's text, or nothing, and libFuzzer tries again.
        .or_else(|| put(&input, data, max_size))
        .unwrap_or(0)
});

fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    let child = Input(cross(
        &Input::leading(one).0,
        &Input::leading(other).0,
        seed,
    ));
    let max = out.len();
    put(&child, out, max).unwrap_or(0)
});
