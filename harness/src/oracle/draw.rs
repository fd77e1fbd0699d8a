//! For tests and fuzzing: random scenarios for the model, on small files so that ranges meet often.

use crate::scenario::{
    Actor, Borrowing, Copying, FileSpec, Filling, Op, Range, ReaderMode, Scenario, Step,
};

/// SplitMix64: small, and the same everywhere.
pub struct Rng {
    state: u64,
    /// What is taken before anything else.
    bytes: Vec<u8>,
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng {
            state: seed,
            bytes: Vec::new(),
        }
    }

    /// One whose first numbers are these bytes, so that whoever changes one of them
    /// changes one draw.
    pub fn of(bytes: &[u8]) -> Rng {
        Rng {
            state: bytes.len() as u64,
            bytes: bytes.iter().rev().copied().collect(),
        }
    }

    pub fn next(&mut self) -> u64 {
        if let Some(low) = self.bytes.pop() {
            // Draws are small numbers, as a rule.
            return u64::from(low) | u64::from(self.bytes.pop().unwrap_or_default()) << 8;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A scenario that can run, on a small file so that ranges meet often.
pub fn random_scenario(rng: &mut Rng) -> Scenario {
    let size = 1 + rng.below(600);
    let mut scenario = Scenario::default();
    scenario.setup.file = FileSpec {
        size_bytes: size,
        sparse: rng.chance(10),
        ..FileSpec::default()
    };
    scenario.setup.socket.nonblock = rng.chance(20);
    if rng.chance(30) {
        scenario.setup.reader = ReaderMode::Paused;
    }
    let senders = rng.chance(30);
    let cuts = rng.chance(40);
    for _ in 0..1 + rng.below(14) {
        let offset = rng.below(size + 20);
        let any = Range {
            offset,
            len: match rng.chance(5) {
                // Past what one call moves, where an int ends, and an unsigned one.
                true => [0x7fff_f001, 1 << 31, 1 << 32][rng.below(3) as usize],
                false => rng.below(size + 40),
            },
        };
        let inside = Range {
            offset: offset.min(size - 1),
            len: 1 + rng.below(size - offset.min(size - 1)),
        };
        let writer = [Actor::A, Actor::B, Actor::C][rng.below(3) as usize];
        let sender = if senders { writer } else { Actor::A };
        let (actor, op) = match rng.below(if cuts { 25 } else { 22 }) {
            17 => {
                let len = rng.below(size + 40);
                (Actor::A, Op::SendfileOn { len })
            }
            18 => (
                Actor::A,
                Op::PipeWrite {
                    range: inside,
                    tee: rng.chance(30),
                },
            ),
            0..=3 => (sender, Op::Sendfile(any)),
            16 => {
                let (_, by) = Copying::NAMED[rng.below(3) as usize];
                (sender, Op::Copy { by, range: inside })
            }
            13 => (
                Actor::A,
                Op::Vmsplice {
                    range: inside,
                    gift: rng.chance(50),
                },
            ),
            14 => {
                let len = rng.below(size + 100);
                let op = match rng.chance(40) {
                    true => Op::Pour { len },
                    false => Op::Tee { len },
                };
                (Actor::A, op)
            }
            15 => (Actor::B, Op::Signal { to: Actor::A }),
            22 | 23 => (
                writer,
                Op::Truncate {
                    size_bytes: rng.below(size + 200),
                },
            ),
            24 if rng.chance(50) => (writer, Op::ZeroRange(inside)),
            24 => (writer, Op::Punch(inside)),
            19 | 20 => {
                let (_, by) = Borrowing::NAMED[rng.below(2) as usize];
                (sender, Op::Borrow { by, range: inside })
            }
            21 => (writer, Op::AwaitCompletions),
            4 => (
                Actor::A,
                Op::SpliceIn {
                    range: any,
                    by: match rng.chance(30) {
                        true => Filling::Move,
                        false if rng.chance(30) => Filling::Sendfile,
                        false => Filling::Splice,
                    },
                },
            ),
            5 => (
                Actor::A,
                Op::SpliceOut {
                    len: rng.below(size + 100),
                    more: rng.chance(50),
                    nonblock: rng.chance(50),
                    tee: rng.chance(30),
                    move_pages: rng.chance(30),
                },
            ),
            6 => (
                Actor::A,
                Op::Pipe {
                    capacity_bytes: 1 + rng.below(10_000) as u32,
                },
            ),
            7 => (writer, Op::Pwrite(inside)),
            8 => (writer, Op::DirectWrite(inside)),
            9 => (writer, Op::MmapWrite(inside)),
            10 => (writer, Op::SecondWrite(inside)),
            11 => (
                Actor::Reader,
                Op::Read {
                    len: rng.below(300),
                },
            ),
            _ => (
                writer,
                Op::Wait {
                    us: rng.below(5_000),
                },
            ),
        };
        scenario.steps.push(Step { actor, op });
    }
    scenario
}
