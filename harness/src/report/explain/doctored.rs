//! Test support: runs written by hand.

use super::Run;
use crate::capture::Capture;
use crate::oracle::doctor::{Plan, range};
use crate::oracle::{Contract, judge};
use crate::scenario::Op;

/// What is planned, as 6.12-stock has run it.
pub fn run(plan: &Plan, capture: Option<Capture>) -> Run {
    Run {
        kernel: "6.12-stock".into(),
        history: plan.history.clone(),
        violations: judge(Contract::Stable, &plan.scenario, &plan.history),
        capture,
    }
}

/// One page is sent, and a part of it rewritten while it is on its way.
pub fn torn() -> Plan {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
    plan.call(Op::MmapWrite(range(1000, 500)), 7, 8);
    plan.receive(20, range(0, 1000), 0);
    plan.receive(20, range(1000, 500), 1);
    plan.receive(20, range(1500, 2596), 0);
    plan
}
