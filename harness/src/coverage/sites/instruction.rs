//! What one instruction does with the address of the callee, and where it goes on.

use std::collections::BTreeSet;

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

/// Something that can hold the address of the callee: a register, or a place on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
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
pub(super) enum Called {
    At(u64),
    In(Place),
    Other,
}

/// Where it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
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
pub(super) struct Step {
    pub at: u64,
    pub after: u64,
    effect: Option<Effect>,
    pub called: Option<Called>,
    pub next: Next,
}

/// Where the address can be when an instruction begins.
pub(super) type Places = BTreeSet<Place>;

impl Step {
    /// Where the address can be after it.
    pub fn applied(&self, before: Option<&Places>) -> Places {
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

pub(super) fn step(
    instruction: &Instruction,
    callee: u64,
    facts: &mut InstructionInfoFactory,
) -> Step {
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
