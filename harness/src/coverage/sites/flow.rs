//! The address of the callee, followed through functions on each way that they can go.

use std::collections::{BTreeSet, HashMap};

use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory};

use super::Text;
use super::instruction::{Called, Next, Places, Step, step};

pub(super) struct Flow<'a> {
    callee: u64,
    pub text: &'a Text<'a>,
    pub steps: Vec<Step>,
    /// Index into `steps`, by address.
    by_address: HashMap<u64, usize>,
    before: Vec<Option<Places>>,
}

impl<'a> Flow<'a> {
    pub fn new(callee: u64, text: &'a Text<'a>) -> Flow<'a> {
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
    pub fn read(&mut self) {
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
    pub fn settle(&mut self) {
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
    pub fn site(&self, index: usize) -> Option<u64> {
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
}
