//! What sends by reference fail with, and others do not.

use super::{Borrowing, Call, Family, Judge, Op, Outcome};

/// So many completions that nobody has read leave no room for another one: each takes an
/// sk_buff of the 20 KiB that net.core.optmem_max has had at least.
const MOST_UNREAD: usize = 16;

/// Whether sockets of a family take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Yes,
    /// It depends on the kernel: AF_VSOCK does since 6.7.
    Maybe,
    No,
}

fn takes(family: Family) -> Takes {
    match family {
        Family::Tcp4 | Family::Tcp6 | Family::Udp4 | Family::Udp6 => Takes::Yes,
        Family::Vsock => Takes::Maybe,
        Family::Ktls4 | Family::Mptcp4 | Family::Mptcp6 => Takes::No,
        Family::Unix | Family::UnixSeqpacket => Takes::No,
    }
}

impl Judge<'_> {
    /// The verdict on a call, if that has to do with how it sends.
    pub(super) fn refusal(&self, by: Borrowing, call: &Call) -> Option<Option<String>> {
        let family = self.scenario.setup.socket.family;
        let errno = match (call.outcome, takes(family)) {
            (Outcome::Failed(libc::EOPNOTSUPP), Takes::Maybe | Takes::No) => return Some(None),
            (Outcome::Returned(bytes), Takes::No) => {
                return Some(Some(format!(
                    "sent {bytes} bytes, and sockets of this family do not send by reference"
                )));
            }
            (Outcome::Failed(errno), _) => errno,
            _ => return None,
        };
        let explained = match errno {
            // net/core/skbuff.c:msg_zerocopy_realloc finds the data of somebody else at the
            // end of the queue, and gives up.
            libc::ENOBUFS if by == Borrowing::Send => {
                self.lent(Borrowing::Uring, call) > 0 || self.is_crowded(call)
            }
            libc::ENOMEM => family == Family::Vsock && self.is_crowded(call),
            // net/ipv4/ip_output.c:__ip_append_data: a datagram has one owner.
            libc::EINVAL => {
                by == Borrowing::Uring && self.has_datagrams() && self.open.0 > 0 && {
                    let ways = [Borrowing::Send, Borrowing::Uring];
                    ways.iter().any(|&by| self.lent(by, call) > 0)
                }
            }
            _ => false,
        };
        explained.then_some(None)
    }

    fn is_crowded(&self, call: &Call) -> bool {
        self.lent(Borrowing::Send, call) >= MOST_UNREAD
    }

    /// How many other calls may have sent in that way by the return of this one.
    fn lent(&self, by: Borrowing, call: &Call) -> usize {
        let lends = |other: &&Call| {
            let step = self.scenario.steps.get(other.step);
            let lends =
                step.is_some_and(|it| matches!(it.op, Op::Borrow { by: it, .. } if it == by));
            lends && other.entry != call.entry && other.entry.order < call.exit.order
        };
        self.history.calls.iter().filter(lends).count()
    }
}

#[cfg(test)]
mod tests {
    use crate::history::Outcome;
    use crate::oracle::doctor::{Plan, range};
    use crate::scenario::{Borrowing, Family, Op};

    fn borrow(by: Borrowing) -> Op {
        let range = range(0, 100);
        Op::Borrow { by, range }
    }

    fn failed(family: Family, by: Borrowing, errno: i32) -> Plan {
        let mut plan = Plan::new(4096);
        plan.scenario.setup.socket.family = family;
        plan.call(borrow(by), 1, 2).outcome = Outcome::Failed(errno);
        plan
    }

    #[test]
    fn families_that_cannot_say_so() {
        for (_, by) in Borrowing::NAMED {
            for family in [
                Family::Ktls4,
                Family::Mptcp6,
                Family::Unix,
                Family::UnixSeqpacket,
                Family::Vsock,
            ] {
                assert_eq!(failed(family, by, libc::EOPNOTSUPP).violations(), []);
                assert_eq!(failed(family, by, libc::EINVAL).verdict(), ["counts"]);
            }
            for family in [Family::Tcp4, Family::Udp6] {
                assert_eq!(failed(family, by, libc::EOPNOTSUPP).verdict(), ["counts"]);
            }
            let mut plan = Plan::new(4096);
            plan.scenario.setup.socket.family = Family::Unix;
            plan.call(borrow(by), 1, 2);
            plan.receive(3, range(0, 100), 0);
            assert!(plan.verdict().contains(&"counts".to_string()));
        }
    }

    #[test]
    fn no_room_for_a_completion_needs_completions_or_others() {
        let (send, uring) = (Borrowing::Send, Borrowing::Uring);
        assert_eq!(
            failed(Family::Tcp4, send, libc::ENOBUFS).verdict(),
            ["counts"]
        );
        let behind = |by, number, mine, errno| {
            let mut plan = Plan::new(4096);
            for at in 0..number {
                plan.call(borrow(by), 2 * at + 1, 2 * at + 2);
                plan.receive(200 + at, range(0, 100), 0);
            }
            let step = number as usize;
            plan.call(borrow(mine), 100, 101).outcome = Outcome::Failed(errno);
            if by == send {
                plan.complete(300, 0, step as u32 - 1);
            }
            plan.verdict()
        };
        let holds: [&str; 0] = [];
        assert_eq!(behind(send, 16, send, libc::ENOBUFS), holds);
        assert_eq!(behind(send, 15, send, libc::ENOBUFS), ["counts"]);
        assert_eq!(behind(uring, 1, send, libc::ENOBUFS), holds);
        assert_eq!(behind(uring, 1, uring, libc::ENOBUFS), ["counts"]);
        assert_eq!(behind(send, 1, uring, libc::EINVAL), ["counts"]);
    }

    #[test]
    fn a_corked_datagram_has_one_owner() {
        for (corked, expected) in [(true, &[][..]), (false, &["counts"][..])] {
            let mut plan = failed(Family::Udp4, Borrowing::Uring, libc::EINVAL);
            plan.scenario.setup.socket.cork = corked;
            plan.scenario.steps.clear();
            plan.history.calls.clear();
            plan.call(borrow(Borrowing::Send), 1, 2);
            plan.call(borrow(Borrowing::Uring), 3, 4).outcome = Outcome::Failed(libc::EINVAL);
            plan.complete(5, 0, 0);
            if !corked {
                plan.receive(6, range(0, 100), 0);
            }
            assert_eq!(plan.verdict(), expected, "corked: {corked}");
        }
    }
}
