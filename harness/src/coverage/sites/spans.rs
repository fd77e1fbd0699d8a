//! The calls, and what runs when they do.

use std::collections::HashSet;

use super::flow::Flow;
use super::instruction::Next;
use super::{Calls, Span};

impl Flow<'_> {
    pub fn calls(&self) -> Calls {
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
