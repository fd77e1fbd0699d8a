//! The flags of splice(2).

use nix::fcntl::SpliceFFlags;

use crate::scenario::{Filling, Op};

/// Those with which `op` is called. Without NONBLOCK a full pipe would block the only
/// thread that can drain it.
pub(super) fn of(op: Op) -> SpliceFFlags {
    let (more, nonblock, move_pages) = match op {
        Op::SpliceIn { by, .. } => (false, true, by == Filling::Move),
        Op::SpliceOut {
            more,
            nonblock,
            move_pages,
            ..
        } => (more, nonblock, move_pages),
        _ => (false, false, false),
    };
    let mut flags = SpliceFFlags::empty();
    flags.set(SpliceFFlags::SPLICE_F_MORE, more);
    flags.set(SpliceFFlags::SPLICE_F_NONBLOCK, nonblock);
    flags.set(SpliceFFlags::SPLICE_F_MOVE, move_pages);
    flags
}

#[cfg(test)]
mod tests {
    use crate::scenario::text;

    fn bits(step: &str) -> u32 {
        let text = format!("pipe capacity=4096\nsplice-in 0+1\n{step}\n");
        let scenario = text::parse("t.scn", &text).unwrap();
        super::of(scenario.steps[2].op).bits()
    }

    /// By the numbers of linux/splice.h: nothing that a kernel does tells a hint that it
    /// was given from one that was not.
    #[test]
    fn each_option_is_a_bit() {
        let steps = [
            ("splice-in 0+1", 2),
            ("splice-in 0+1 move", 3),
            ("splice-out 1", 0),
            ("splice-out 1 move", 1),
            ("splice-out 1 nonblock", 2),
            ("splice-out 1 more", 4),
            ("splice-out 1 more nonblock move", 7),
        ];
        for (step, expected) in steps {
            assert_eq!(bits(step), expected, "{step}");
        }
    }
}
