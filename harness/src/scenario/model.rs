//! The types of a scenario. Units stand in the names; see docs/scenario.md for
//! the text form.

mod actor;
mod device;
mod op;
mod setup;
mod stack;
mod tcp;

pub use actor::*;
pub use device::*;
pub use op::*;
pub use setup::*;
pub use stack::*;
pub use tcp::*;

/// Page size of the kernels under test, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// One test case: a setup and a list of operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scenario {
    /// The prose above the first line, without the leading `# `; may be empty.
    pub header: String,
    /// What a replay must see on which kernels; first match counts.
    pub expects: Vec<Expect>,
    /// What stands before the first operation.
    pub setup: Setup,
    /// The operations, in the order in which the scheduler hands them out.
    pub steps: Vec<Step>,
}

/// `expect KERNEL VERDICT`: what a replay must see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expect {
    /// A kernel name (`6.12-stock`) or a flavour of any version (`stock`); with `@ENGINE`
    /// behind it only what that engine runs.
    pub kernel: String,
    /// What it must show.
    pub verdict: Expected,
}

/// What a replay must see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Every property holds, by the means given, if any is.
    Holds(Option<Means>),
    /// The property of this name is violated, as [`crate::oracle::Property`]
    /// prints it.
    Violates(String),
    /// Nothing in particular: what is seen is chance.
    Either,
}

/// How a patched kernel kept its promise, by its own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// A call slept until its pages were released; nothing was copied.
    Waited,
    /// Copies were sent, and nothing by reference.
    Copied,
    /// Pages that were still queued when a call returned were replaced by copies.
    Detached,
}

impl Means {
    /// All of them, with the words that the text has for them.
    pub const NAMED: [(&str, Means); 3] = [
        ("waited", Means::Waited),
        ("copied", Means::Copied),
        ("detached", Means::Detached),
    ];
}

impl Expect {
    /// Whether this line is about the kernel of that name: it names the kernel
    /// itself, its flavour with or without what is compiled in on top, or `patched` for
    /// `detach`, which is the same kernel with another setting. It is run by User Mode
    /// Linux.
    pub fn is_about(&self, kernel: &str) -> bool {
        self.is_about_on(kernel, "uml")
    }

    /// The same of a kernel that this engine runs: its name as the command line has it, but
    /// for how many CPUs there are and who executes them in real time.
    pub fn is_about_on(&self, kernel: &str, engine: &str) -> bool {
        let (named, on) = match self.kernel.split_once('@') {
            Some((named, on)) => (named, Some(on)),
            None => (&*self.kernel, None),
        };
        if on.is_some_and(|on| on != engine) {
            return false;
        }
        if named == kernel {
            return true;
        }
        // The path of a source tree is no flavour, whatever it ends in.
        let Some((_, flavour)) = kernel.split_once('-').filter(|_| !kernel.contains(':')) else {
            return false;
        };
        let extras = ["-debug-kcov", "-debug", "-kcov", "-kcsan"];
        let plain = (extras.iter().find_map(|it| flavour.strip_suffix(it))).unwrap_or(flavour);
        [flavour, plain].contains(&named) || plain == "detach" && named == "patched"
    }
}

impl Scenario {
    /// The largest size that the file can have, in bytes.
    pub fn extent_bytes(&self) -> u64 {
        let sizes = self.steps.iter().filter_map(|step| match step.op {
            Op::Truncate { size_bytes } => Some(size_bytes),
            _ => None,
        });
        sizes.fold(self.setup.file.size_bytes, u64::max)
    }

    /// Whether the size of the file changes.
    pub fn resizes(&self) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        ops.any(|op| matches!(op, Op::Truncate { .. } | Op::Collapse(_)))
    }

    /// Who has a connection: `a`, and whoever else sends, where each has its own.
    pub fn connections(&self) -> impl Iterator<Item = Actor> {
        let each = self.setup.socket.each;
        let has_one = move |actor: &Actor| {
            let mut steps = self.steps.iter();
            *actor == Actor::A || each && steps.any(|it| it.actor == *actor && it.op.sends())
        };
        Actor::SENDING_SIDE.into_iter().filter(has_one)
    }

    /// Whose connection it is that an actor acts on: its own, or that of `a`.
    pub fn connection_of(&self, actor: Actor) -> Actor {
        self.connections()
            .find(|it| *it == actor)
            .unwrap_or_default()
    }

    /// Whether a sending actor reads: it is its own reader.
    pub fn reads_itself(&self) -> bool {
        let own = |step: &Step| matches!(step.op, Op::Read { .. }) && step.actor != Actor::Reader;
        self.steps.iter().any(own)
    }

    /// Whether an operation sends by reference, in that way.
    pub fn borrows(&self, by: Borrowing) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        ops.any(|op| matches!(op, Op::Borrow { by: it, .. } if it == by))
    }

    /// Whether an operation sends by reference, in any way.
    pub fn borrows_any(&self) -> bool {
        Borrowing::NAMED.iter().any(|&(_, by)| self.borrows(by))
    }

    /// Whether an operation holds packets of that direction.
    pub fn holds(&self, way: Way) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        ops.any(|op| matches!(op, Op::Hold { way: it, .. } if it == way))
    }

    /// Whether an operation holds packets of any direction.
    pub fn holds_any(&self) -> bool {
        Way::NAMED.iter().any(|&(_, way)| self.holds(way))
    }

    /// Whether the file has holes, or may get some: zeros that nobody wrote.
    pub fn may_have_holes(&self) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        self.setup.file.sparse || ops.any(Op::zeroes)
    }

    /// Whether an operation kills who sends for `actor`.
    pub fn kills(&self, actor: Actor) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        ops.any(|op| op == Op::Kill { to: actor })
    }

    /// The generation that the step at `index` writes, or `None` if it does not
    /// write. Counted from 1 in list order, wherever the scheduler runs it.
    pub fn generation(&self, index: usize) -> Option<u8> {
        self.steps.get(index)?.op.writes()?;
        let writes = self.steps[..=index]
            .iter()
            .filter(|step| step.op.writes().is_some())
            .count();
        u8::try_from(writes).ok()
    }

    /// The step that writes `generation`, or `None`.
    pub fn writer_of(&self, generation: u8) -> Option<usize> {
        let nth = usize::from(generation).checked_sub(1)?;
        self.steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.op.writes().is_some())
            .nth(nth)
            .map(|(index, _)| index)
    }
}
