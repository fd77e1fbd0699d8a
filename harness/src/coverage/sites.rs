//! Where the kernel's text calls the function that notes a block.
//!
//! The compiler puts such a call at the beginning of each block of an instrumented
//! function, and the address that is noted is that to which the call returns. User Mode
//! Linux is built for the large code model: most calls are `call *%rbx`, and what is in
//! the register was put there once, far above. So this follows the register through the
//! function, on each way that leads to the call.

use std::collections::{BTreeSet, HashMap, HashSet};

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

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

/// Something that can hold the address of the callee: a register, or a place on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Register(Register),
    Stack(Register, i64),
}

/// What an instruction does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Effect {
    /// It is put there.
    Load(Place),
    /// What is in the second is put into the first.
    Copy(Place, Place),
    /// Something else is put there.
    Lose(Vec<Place>),
}

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Called {
    At(u64),
    In(Place),
    Other,
}

/// Where it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// With the next instruction.
    On,
    /// There, or with the next one.
    Perhaps(u64),
    /// There.
    Jump(u64),
    /// At one of several places, by a table.
    Table,
    /// Nowhere.
    End,
}

#[derive(Debug)]
struct Step {
    at: u64,
    after: u64,
    effect: Option<Effect>,
    called: Option<Called>,
    next: Next,
}

/// Where the address can be when an instruction begins.
type Places = BTreeSet<Place>;

struct Flow<'a> {
    callee: u64,
    text: &'a Text<'a>,
    steps: Vec<Step>,
    /// Index into `steps`, by address.
    by_address: HashMap<u64, usize>,
    before: Vec<Option<Places>>,
}

impl<'a> Flow<'a> {
    fn new(callee: u64, text: &'a Text<'a>) -> Flow<'a> {
        Flow {
            callee,
            text,
            steps: Vec::new(),
            by_address: HashMap::new(),
            before: Vec::new(),
        }
    }

    /// The function around an address: from where to where.
    fn function(&self, address: u64) -> Option<(u64, u64)> {
        let end = self.text.base + self.text.bytes.len() as u64;
        let after = self.text.starts.partition_point(|&it| it <= address);
        let start = *self.text.starts.get(after.checked_sub(1)?)?;
        let end = self.text.starts.get(after).copied().unwrap_or(end);
        (address >= self.text.base && address < end).then_some((start, end))
    }

    /// Decodes the functions that name the callee, and what they jump to.
    fn read(&mut self) {
        let mut waiting: Vec<u64> = self.text.starts.to_vec();
        let mut done = BTreeSet::new();
        waiting.retain(|&it| self.names_callee(it));
        while let Some(address) = waiting.pop() {
            let Some((start, end)) = self.function(address) else {
                continue;
            };
            if !done.insert(start) {
                continue;
            }
            for index in self.decode(start, end) {
                // A rarely used part of a function is a function to the linker.
                if let Next::Perhaps(to) | Next::Jump(to) = self.steps[index].next
                    && !(start..end).contains(&to)
                {
                    waiting.push(to);
                }
            }
        }
    }

    /// Whether the bytes of a function could mean the callee.
    fn names_callee(&self, start: u64) -> bool {
        let Some((start, end)) = self.function(start) else {
            return false;
        };
        let bytes = self.bytes(start, end);
        // Absolute in four bytes, with which one of eight begins, or relative to what follows.
        bytes.windows(4).zip(start + 4..).any(|(four, after)| {
            let four = [four[0], four[1], four[2], four[3]];
            let relative = i64::from(i32::from_le_bytes(four));
            u64::from(u32::from_le_bytes(four)) == self.callee & 0xffff_ffff
                || after.wrapping_add_signed(relative) == self.callee
        })
    }

    fn bytes(&self, start: u64, end: u64) -> &'a [u8] {
        let at = |address: u64| (address - self.text.base) as usize;
        &self.text.bytes[at(start)..at(end)]
    }

    fn decode(&mut self, start: u64, end: u64) -> std::ops::Range<usize> {
        let mut decoder = Decoder::with_ip(64, self.bytes(start, end), start, DecoderOptions::NONE);
        let mut facts = InstructionInfoFactory::new();
        let first = self.steps.len();
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            let step = step(&instruction, self.callee, &mut facts);
            self.by_address.insert(step.at, self.steps.len());
            self.steps.push(step);
        }
        first..self.steps.len()
    }

    /// Follows all ways until nothing new comes of it.
    fn settle(&mut self) {
        self.before = vec![None; self.steps.len()];
        let mut waiting = Vec::new();
        for &start in self.text.starts {
            if let Some(&first) = self.by_address.get(&start) {
                self.arrive(first, &Places::new(), &mut waiting);
            }
        }
        loop {
            while let Some(index) = waiting.pop() {
                self.leave(index, &mut waiting);
            }
            self.guess_tables(&mut waiting);
            if waiting.is_empty() {
                break;
            }
        }
    }

    fn arrive(&mut self, index: usize, with: &Places, waiting: &mut Vec<usize>) {
        let changed = match &mut self.before[index] {
            Some(known) => {
                let before = known.len();
                known.extend(with);
                known.len() > before
            }
            unknown => {
                *unknown = Some(with.clone());
                true
            }
        };
        if changed {
            waiting.push(index);
        }
    }

    fn leave(&mut self, index: usize, waiting: &mut Vec<usize>) {
        let step = &self.steps[index];
        let places = step.applied(self.before[index].as_ref());
        let (on, there) = match step.next {
            Next::On => (true, None),
            Next::Perhaps(to) => (true, Some(to)),
            Next::Jump(to) => (false, Some(to)),
            Next::Table | Next::End => (false, None),
        };
        let on = on.then_some(step.after);
        for to in [on, there].into_iter().flatten() {
            if let Some(&to) = self.by_address.get(&to) {
                self.arrive(to, &places, waiting);
            }
        }
    }

    /// Where a table leads is not read from it: what nothing else leads to, in the same
    /// function, is where.
    fn guess_tables(&mut self, waiting: &mut Vec<usize>) {
        let mut tables: HashMap<u64, Places> = HashMap::new();
        for (step, before) in self.steps.iter().zip(&self.before) {
            if step.next == Next::Table
                && before.is_some()
                && let Some((start, _)) = self.function(step.at)
            {
                let places = step.applied(before.as_ref());
                tables.entry(start).or_default().extend(places);
            }
        }
        for index in 1..self.steps.len() {
            let ends = matches!(
                self.steps[index - 1].next,
                Next::Jump(_) | Next::Table | Next::End
            );
            if !ends || self.before[index].is_some() {
                continue;
            }
            let function = self.function(self.steps[index].at);
            let none = Places::new();
            let places = function.and_then(|(start, _)| tables.get(&start));
            let places = places.unwrap_or(&none).clone();
            self.arrive(index, &places, waiting);
        }
    }

    /// The address to which a step returns, if it calls the callee.
    fn site(&self, index: usize) -> Option<u64> {
        let step = &self.steps[index];
        let is_callee = match step.called? {
            Called::At(address) => address == self.callee,
            Called::In(place) => {
                let before = self.before[index].as_ref();
                before.is_some_and(|it| it.contains(&place))
            }
            Called::Other => false,
        };
        is_callee.then_some(step.after)
    }

    fn calls(&self) -> Calls {
        let mut calls = Calls::default();
        let leaders = self.leaders();
        let mut straight = Vec::new();
        for index in 0..self.steps.len() {
            if leaders.contains(&self.steps[index].at) {
                self.end_straight(&mut straight, &mut calls);
            }
            straight.push(index);
        }
        self.end_straight(&mut straight, &mut calls);
        calls.sites.sort_unstable();
        calls.spans.sort_unstable_by_key(|it| it.from);
        calls
    }

    /// Where something can begin that does not run whenever what is before it does.
    fn leaders(&self) -> HashSet<u64> {
        let mut leaders: HashSet<u64> = self.text.starts.iter().copied().collect();
        for step in &self.steps {
            if step.next != Next::On {
                leaders.insert(step.after);
            }
            if let Next::Perhaps(to) | Next::Jump(to) = step.next {
                leaders.insert(to);
            }
        }
        leaders
    }

    /// Of steps without a jump in or out: each runs when the call before it does, those at
    /// the beginning when the first one does.
    fn end_straight(&self, straight: &mut Vec<usize>, calls: &mut Calls) {
        let first = straight.iter().find_map(|&it| self.site(it));
        let Some(mut site) = first else {
            straight.clear();
            return;
        };
        for index in straight.drain(..) {
            let step = &self.steps[index];
            if let Some(next) = self.site(index) {
                calls.sites.push(next);
                site = next;
            }
            match calls.spans.last_mut() {
                Some(span) if span.site == site && span.to == step.at => span.to = step.after,
                _ => calls.spans.push(Span {
                    from: step.at,
                    to: step.after,
                    site,
                }),
            }
        }
    }
}

impl Step {
    /// Where the address can be after it.
    fn applied(&self, before: Option<&Places>) -> Places {
        let mut places = before.cloned().unwrap_or_default();
        match &self.effect {
            None => {}
            Some(Effect::Load(to)) => {
                places.insert(*to);
            }
            Some(Effect::Copy(to, from)) => {
                if places.contains(from) {
                    places.insert(*to);
                } else {
                    places.remove(to);
                }
            }
            Some(Effect::Lose(lost)) => {
                for place in lost {
                    places.remove(place);
                }
            }
        }
        places
    }
}

fn step(instruction: &Instruction, callee: u64, facts: &mut InstructionInfoFactory) -> Step {
    let next = match instruction.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => Next::On,
        FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
            Next::Perhaps(instruction.near_branch_target())
        }
        FlowControl::UnconditionalBranch => Next::Jump(instruction.near_branch_target()),
        FlowControl::IndirectBranch => Next::Table,
        // A BUG() that does not return, and a WARN() that does, are the same instruction.
        FlowControl::Exception if instruction.code() == Code::Ud2 => Next::On,
        FlowControl::Interrupt => Next::On,
        FlowControl::Return | FlowControl::Exception => Next::End,
    };
    let called = match instruction.flow_control() {
        FlowControl::Call if instruction.op0_kind() == OpKind::NearBranch64 => {
            Some(Called::At(instruction.near_branch_target()))
        }
        FlowControl::Call | FlowControl::IndirectCall => {
            Some(place(instruction, 0).map_or(Called::Other, Called::In))
        }
        _ => None,
    };
    Step {
        at: instruction.ip(),
        after: instruction.next_ip(),
        effect: effect(instruction, callee, facts),
        called,
        next,
    }
}

fn effect(
    instruction: &Instruction,
    callee: u64,
    facts: &mut InstructionInfoFactory,
) -> Option<Effect> {
    if instruction.is_call_near() || instruction.is_call_near_indirect() {
        // Nobody calls by what a call has overwritten; but what it returns is often called.
        let lost = [Register::RAX, Register::RDX].map(Place::Register);
        return Some(Effect::Lose(lost.to_vec()));
    }
    let moves = matches!(instruction.mnemonic(), Mnemonic::Mov | Mnemonic::Lea);
    if moves && let Some(to) = place(instruction, 0) {
        if constant(instruction) == Some(callee) {
            return Some(Effect::Load(to));
        }
        if instruction.mnemonic() == Mnemonic::Mov
            && let Some(from) = place(instruction, 1)
        {
            return Some(Effect::Copy(to, from));
        }
        return Some(Effect::Lose(vec![to]));
    }
    let written = |access| {
        matches!(
            access,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        )
    };
    let used = facts.info(instruction).used_registers();
    let lost = used.iter().filter(|it| written(it.access()));
    let lost: Vec<Place> = lost
        .map(|it| it.register().full_register())
        .filter(|it| it.is_gpr64() && *it != Register::RSP)
        .map(Place::Register)
        .collect();
    (!lost.is_empty()).then_some(Effect::Lose(lost))
}

/// The constant that is moved.
fn constant(instruction: &Instruction) -> Option<u64> {
    match instruction.op1_kind() {
        OpKind::Immediate64 | OpKind::Immediate32 | OpKind::Immediate32to64 => {
            Some(instruction.immediate(1))
        }
        OpKind::Memory
            if instruction.mnemonic() == Mnemonic::Lea
                && instruction.is_ip_rel_memory_operand() =>
        {
            Some(instruction.ip_rel_memory_address())
        }
        _ => None,
    }
}

/// What an operand is, if it can hold an address and be found again.
fn place(instruction: &Instruction, operand: u32) -> Option<Place> {
    match instruction.op_kind(operand) {
        OpKind::Register => {
            let register = instruction.op_register(operand).full_register();
            register.is_gpr64().then_some(Place::Register(register))
        }
        OpKind::Memory => {
            let base = instruction.memory_base();
            let on_stack = matches!(base, Register::RBP | Register::RSP)
                && instruction.memory_index() == Register::None
                && instruction.mnemonic() != Mnemonic::Lea;
            let offset = instruction.memory_displacement64().cast_signed();
            on_stack.then_some(Place::Stack(base, offset))
        }
        _ => None,
    }
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
