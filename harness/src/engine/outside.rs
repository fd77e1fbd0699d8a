//! Whether it was somebody of the host who ended a guest: a scheduler that takes its machine
//! back, the host that has run out of memory, or a person. That says nothing of the kernel.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::libc::{self, c_int};

use super::log;
use crate::kernel::Machine;
use crate::oracle::{self, message};

/// Whether a guest of `machine` with this end and this log was killed from outside.
pub fn killed(machine: Machine, status: ExitStatus, log: &str) -> bool {
    status.signal().is_some_and(is_from_outside)
        || match machine {
            // Upon a signal that asks it to go it has its memory removed and exits so
            // (arch/um/os-Linux/main.c:last_ditch_exit), without a word. A kernel that dies
            // by itself aborts.
            // (Before its first message that is how the host has refused something.)
            Machine::Uml => status.code() == Some(1) && log::started(log),
            Machine::Qemu(_) => log
                .lines()
                .any(|line| line.contains(": terminating on signal ")),
            Machine::Host => false,
        }
}

/// Whether a process of the host that stood for one of User Mode Linux was killed. It is the
/// kernel that panics then, or the program that dies.
///
/// ptrace(2) says ESRCH of a process that is no more, and wait(2) ECHILD
/// (arch/um/os-Linux/skas/process.c: `userspace`, `wait_stub_done`; skas/mem.c). What the
/// kernel itself may do to a process, such as a page that it cannot have, says something else.
///
/// What comes after a report of a bug of the kernel is that bug's doing. In seccomp mode
/// (Linux 7.3) nothing tells who killed a process, so it is always the kernel's.
pub fn lost_process(log: &str) -> bool {
    let lines = log.lines().map(message);
    let mut telling = lines.filter(|line| is_of_lost_process(line) || oracle::is_report(line));
    telling.next().is_some_and(is_of_lost_process)
}

fn is_of_lost_process(line: &str) -> bool {
    if let Some((_, signal)) = line.split_once("child stopped with signal ") {
        return number(signal).is_some_and(is_from_outside);
    }
    // arch/um/kernel/trap.c:relay_signal
    if line.starts_with("Bus error - the host /dev/shm or /tmp mount") {
        return true;
    }
    if line.contains("failed to wait for SIGTRAP") {
        let status = line
            .rsplit_once("status = 0x")
            .map(|(_, status)| status.trim_end());
        let status = status.and_then(|it| c_int::from_str_radix(it, 16).ok());
        return status.is_some_and(|it| is_from_outside(signal_of(it)));
    }
    line.split_once("errno = ").is_some_and(|(what, errno)| {
        let is_gone = matches!(number(errno), Some(libc::ESRCH | libc::ECHILD));
        is_gone && OF_PROCESSES.iter().any(|it| what.contains(it))
    })
}

/// What User Mode Linux does to a process, in its words.
const OF_PROCESSES: [&str; 7] = [
    "regs failed",
    "REGS failed",
    "registers failed",
    "continue failed",
    "wait failed",
    "continue stub",
    "registers from stub",
];

/// Nobody in a guest sends these to a process of the host: they are how schedulers, limits
/// (setrlimit(2)), terminals and a host without memory stop, wake, warn and end one. A process
/// of User Mode Linux under ptrace does not survive to be woken (SIGCONT).
fn is_from_outside(signal: c_int) -> bool {
    FROM_OUTSIDE.contains(&signal)
}

const FROM_OUTSIDE: [c_int; 13] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGKILL,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTERM,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGXCPU,
];

/// The signal that a status of wait(2) speaks of, whether it has stopped or ended the process.
fn signal_of(status: c_int) -> c_int {
    match status & 0x7f {
        0x7f => status >> 8 & 0xff,
        signal => signal,
    }
}

fn number(text: &str) -> Option<c_int> {
    let end = text.find(|it: char| !it.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UML: Machine = Machine::Uml;

    #[test]
    fn who_is_killed_says_nothing_of_the_kernel() {
        for signal in [libc::SIGINT, libc::SIGKILL, libc::SIGTERM] {
            assert!(killed(UML, ExitStatus::from_raw(signal), ""));
        }
        // It asked the kernel to go.
        let begun = "[    0.000000] Linux version 6.12\n";
        assert!(killed(UML, ExitStatus::from_raw(1 << 8), begun));
        assert!(!killed(
            UML,
            ExitStatus::from_raw(1 << 8),
            "Checking PROT_EXEC\n"
        ));
        // These are how a kernel dies.
        for status in [libc::SIGSEGV, libc::SIGABRT, libc::SIGBUS, 0, 134 << 8] {
            assert!(!killed(UML, ExitStatus::from_raw(status), ""), "{status}");
        }
        let log = "qemu-system-x86_64: terminating on signal 15 from pid 7 (sh)\n";
        let qemu = Machine::Qemu(Default::default());
        assert!(killed(qemu, ExitStatus::from_raw(0), log));
        assert!(!killed(
            qemu,
            ExitStatus::from_raw(0),
            "reboot: Power down\n"
        ));
    }

    #[test]
    fn a_process_that_was_killed_is_told_from_one_that_fails() {
        for line in [
            "[  688.0] userspace - ptrace set regs failed, errno = 3",
            "[  691.75] userspace - PTRACE_GETREGS failed, errno = 3",
            "[    1.0] Kernel panic - not syncing: do_syscall_stub : PTRACE_SETREGS failed, errno = 3",
            "[    1.0] Failed to continue stub, pid = 7, errno = 3",
            "[    1.0] userspace - ptrace continue failed, op = 24, errno = 3",
            "[    1.0] userspace - wait failed, errno = 10",
            "[    1.0] wait_stub_done : failed to wait for SIGTRAP, pid = 7, n = 7, errno = 0, status = 0x9",
            "[    1.0] wait_stub_done : failed to wait for SIGTRAP, pid = 7, n = 7, errno = 0, status = 0xf7f",
            "[    1.0] userspace - child stopped with signal 15",
            "[  470.0] userspace - child stopped with signal 18",
            "[  853.5] Bus error - the host /dev/shm or /tmp mount likely just ran out of space",
            "[  688.0] userspace - ptrace set regs failed, errno = 3\n\
             [  688.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",
        ] {
            assert!(lost_process(line), "{line}");
        }
        for line in [
            // A CPU with more registers.
            "[    1.0] userspace - ptrace set fp regs failed, errno = 22",
            // Code that the kernel has overwritten.
            "[    1.0] wait_stub_done : failed to wait for SIGTRAP, pid = 7, n = 7, errno = 3, status = 0xb7f",
            "[    1.0] userspace - child stopped with signal 4",
            "[    1.0] start_userspace : mmap failed, errno = 12",
            "[    1.0] loop0: something else, errno = 3",
            "[    1.0] Unexpectedly lost MM child! Affected tasks will segfault.",
            "[    1.0] WARNING: CPU: 0 PID: 33 at mm/x.c:212 f+0x1/0x2\n\
             [    1.0] userspace - wait failed, errno = 10",
            "[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009",
        ] {
            assert!(!lost_process(line), "{line}");
        }
    }
}
