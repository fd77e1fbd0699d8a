//! Where the kernel's text calls the function that notes a block.
//!
//! The compiler puts such a call at the beginning of each block of an instrumented
//! function, and the address that is noted is that to which the call returns. User Mode
//! Linux is built for the large code model: most calls are `call *%rbx`, and what is in
//! the register was put there once, far above. So this follows the register through the
//! function, on each way that leads to the call.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `instruction` | what one instruction does with the address |
//! | `flow` | the address, followed through functions |
//! | `spans` | the calls, and what runs when they do |

mod flow;
mod instruction;
mod spans;

use flow::Flow;

/// Machine code, and where functions begin in it.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The address of the first byte.
    pub base: u64,
    /// x86-64 code.
    pub bytes: &'a [u8],
    /// The addresses of functions and of parts of them, ascending.
    pub starts: &'a [u64],
}

/// Instructions that run when a call does, and not otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The address of the first.
    pub from: u64,
    /// That of what follows the last.
    pub to: u64,
    /// The address to which the call returns.
    pub site: u64,
}

/// The calls of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// The addresses to which they return, ascending.
    pub sites: Vec<u64>,
    /// What runs when they do, ascending. What a jump can lead to without one is in none.
    pub spans: Vec<Span>,
}

/// Finds the calls of the function at `callee`.
pub fn calls(callee: u64, text: &Text<'_>) -> Calls {
    let mut flow = Flow::new(callee, text);
    flow.read();
    flow.settle();
    flow.calls()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x6010_0000;
    const TRACER: u64 = 0x600a_17e0;
    const OTHER: u64 = 0x600a_2000;
    const CALL_RBX: [u8; 2] = [0xff, 0xd3];
    const CALL_RAX: [u8; 2] = [0xff, 0xd0];
    const CALL_R12: [u8; 3] = [0x41, 0xff, 0xd4];
    const RET: u8 = 0xc3;

    /// Machine code that is written by hand.
    #[derive(Default)]
    struct Code {
        bytes: Vec<u8>,
        starts: Vec<u64>,
        /// What has to be found.
        expected: Vec<u64>,
    }

    impl Code {
        fn function() -> Code {
            let mut code = Code::default();
            code.start();
            code
        }

        fn start(&mut self) {
            self.starts.push(self.here());
        }

        fn here(&self) -> u64 {
            BASE + self.bytes.len() as u64
        }

        fn put(&mut self, bytes: &[u8]) -> &mut Code {
            self.bytes.extend(bytes);
            self
        }

        /// A call of the tracer.
        fn site(&mut self, bytes: &[u8]) -> &mut Code {
            self.put(bytes);
            self.expected.push(self.here());
            self
        }

        fn constant(&mut self, opcode: [u8; 2], value: u64) -> &mut Code {
            self.put(&opcode).put(&value.to_le_bytes())
        }

        fn rbx(&mut self, value: u64) -> &mut Code {
            self.constant([0x48, 0xbb], value)
        }

        fn rax(&mut self, value: u64) -> &mut Code {
            self.constant([0x48, 0xb8], value)
        }

        /// What a call or jump of this opcode to there takes.
        fn relative(&self, opcode: u8, to: u64) -> [u8; 5] {
            let distance = to.wrapping_sub(self.here() + 5) as u32;
            let [a, b, c, d] = distance.to_le_bytes();
            [opcode, a, b, c, d]
        }

        fn check(&self) {
            let text = Text {
                base: BASE,
                bytes: &self.bytes,
                starts: &self.starts,
            };
            let calls = calls(TRACER, &text);
            assert_eq!(calls.sites, self.expected);
            assert!(calls.spans.is_sorted_by_key(|it| it.from));
            assert!(calls.spans.iter().all(|it| calls.sites.contains(&it.site)));
        }
    }

    #[test]
    fn a_direct_call_is_found_and_what_only_looks_like_one_is_not() {
        let mut code = Code::function();
        let call = code.relative(0xe8, TRACER);
        code.site(&call);
        let call = code.relative(0xe8, OTHER);
        code.put(&call);
        // `e8` and the distance, as part of a constant.
        let inside = Code {
            bytes: [&code.bytes[..], &[0; 2]].concat(),
            ..Code::default()
        };
        let [a, b, c, d, e] = inside.relative(0xe8, TRACER);
        code.put(&[0x48, 0xb8, a, b, c, d, e, 0, 0, 0]);
        let call = code.relative(0xe8, TRACER);
        code.site(&call).put(&[RET]).check();
    }

    #[test]
    fn a_call_by_a_register_is_what_was_put_there() {
        let mut code = Code::function();
        code.rbx(TRACER).rax(OTHER).site(&CALL_RBX).put(&CALL_RAX);
        // What was called has returned something.
        code.rax(TRACER).site(&CALL_RAX).put(&CALL_RAX);
        code.site(&CALL_RBX).rbx(OTHER).put(&CALL_RBX);
        // xor %ebx,%ebx
        code.rbx(TRACER).put(&[0x31, 0xdb]).put(&CALL_RBX);
        code.put(&[RET]).check();
    }

    #[test]
    fn it_is_followed_to_other_registers_and_the_stack() {
        let mut code = Code::function();
        // mov %rbx,%r12; mov %rbx,-8(%rbp)
        code.rbx(TRACER).put(&[0x49, 0x89, 0xdc]);
        code.put(&[0x48, 0x89, 0x5d, 0xf8]).rbx(OTHER);
        code.put(&CALL_RBX).site(&CALL_R12);
        // mov -16(%rbp),%rax; mov -8(%rbp),%rax; call *-8(%rbp)
        code.put(&[0x48, 0x8b, 0x45, 0xf0]).put(&CALL_RAX);
        code.put(&[0x48, 0x8b, 0x45, 0xf8]).site(&CALL_RAX);
        code.site(&[0xff, 0x55, 0xf8]).put(&[RET]).check();
    }

    #[test]
    fn every_way_through_a_function_is_followed() {
        let mut code = Code::function();
        // je over what puts something else there and leads away
        code.rbx(TRACER).put(&[0x74, 12]).rbx(OTHER).put(&[0xeb, 3]);
        code.site(&CALL_RBX).put(&[RET]);
        code.put(&CALL_RBX).put(&[RET]).check();
    }

    #[test]
    fn a_part_that_the_linker_has_put_elsewhere_is_followed() {
        let mut code = Code::function();
        code.rbx(TRACER).site(&CALL_RBX);
        let cold = code.here() + 5 + 3;
        let jump = code.relative(0xe9, cold);
        code.put(&jump);
        // Nobody jumps here.
        code.start();
        code.put(&CALL_RBX).put(&[RET]);
        code.start();
        code.site(&CALL_RBX).put(&[RET]).check();
    }

    #[test]
    fn what_only_a_table_leads_to_is_followed() {
        let mut code = Code::function();
        // jmp *(%rdx,%rax,8)
        code.rbx(TRACER).put(&[0xff, 0x24, 0xc2]);
        code.site(&CALL_RBX).put(&[RET]);
        code.site(&CALL_RBX).put(&[RET]).check();
    }

    #[test]
    fn what_runs_with_a_call_is_what_no_jump_can_reach_without_it() {
        let mut code = Code::function();
        code.rbx(TRACER).site(&CALL_RBX).put(&[0x90]);
        // je over two nops
        code.put(&[0x74, 2]);
        let between = code.here();
        code.put(&[0x90, 0x90]);
        let joined = code.here();
        code.put(&[0x90]).site(&CALL_RBX).put(&[RET]);
        let end = code.here();
        let text = Text {
            base: BASE,
            bytes: &code.bytes,
            starts: &code.starts,
        };
        let span = |from, to, site| Span { from, to, site };
        let [first, second] = code.expected[..] else {
            panic!("{:?}", code.expected)
        };
        let expected = [span(BASE, between, first), span(joined, end, second)];
        assert_eq!(calls(TRACER, &text).spans, expected);
    }
}
