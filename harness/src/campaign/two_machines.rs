//! The demonstration of 2008: a sender on one machine, a receiver on another, and nothing
//! of this suite between the two but a switch.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::{self, Boot, Card, Exit, Guest, wire};
use crate::kernel::Kernel;

/// The hidden subcommand that a machine runs.
pub const NODE: &str = "node";
const MEMORY_MIB: u32 = 256;
/// Both programs say once a second how far they are.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// A machine that boots does so in less.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const PORT: u16 = 2008;
/// In the memory of the sending machine.
const FILE: &str = "/tmp/zeros";
/// It has holes only: whatever is sent of it fits.
const FILE_BYTES: u64 = 1 << 30;
const SENDER: ([u8; 6], &str) = ([2, 0, 0, 0, 0x20, 1], "192.0.2.1");
const RECEIVER: ([u8; 6], &str) = ([2, 0, 0, 0, 0x20, 2], "192.0.2.2");

/// What is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Sends.
    pub rounds: u64,
    /// Bytes of each.
    pub count: u64,
    /// For how long each change stands.
    pub interval_ms: u64,
    /// For how long what is sent waits in the ring of the sending machine's card.
    pub ring_delay_us: u32,
    /// For how long it waits in a queue before that (netem).
    pub delay_us: u64,
}

/// Where the two programs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On two machines, with a switch between their cards.
    TwoMachines,
    /// On one, over loopback.
    Loopback,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whether the receiver saw a byte that is not zero.
    pub torn: bool,
    /// What the programs said, the receiver first.
    pub said: Vec<String>,
    /// From the first boot to the end.
    pub took: Duration,
}

/// Why nothing was shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A machine could not be had.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// A machine did something else than it was to do.
    #[error("{who}: {what}\n  {}", said.join("\n  "))]
    Failed {
        /// Which machine.
        who: &'static str,
        /// How it ended.
        what: String,
        /// What it said.
        said: Vec<String>,
    },
}

impl Error {
    /// The same, and what else was said.
    fn and(mut self, more: Vec<String>) -> Error {
        if let Error::Failed { said, .. } = &mut self {
            said.extend(more);
        }
        self
    }
}

/// Shows the race, or that there is none, on one kernel.
///
/// # Errors
/// A machine does not boot, or a program fails.
pub fn show(kernel: &Kernel, place: Place, plan: &Plan) -> Result<Shown, Error> {
    let begun = Instant::now();
    let (torn, said) = match place {
        Place::TwoMachines => over_wire(kernel, plan)?,
        Place::Loopback => over_loopback(kernel, plan)?,
    };
    Ok(Shown {
        torn,
        said,
        took: begun.elapsed(),
    })
}

fn over_wire(kernel: &Kernel, plan: &Plan) -> Result<(bool, Vec<String>), Error> {
    let machines = [SENDER.1, RECEIVER.1].map(|it| it.parse().expect("it is an address"));
    let [near, far] = wire::ports(machines)?;
    let mut receiver = Machine::boot(
        "the receiving machine",
        kernel,
        Some(card(RECEIVER.0, 0, far)),
        words(&["--address", RECEIVER.1, "recv", "-a", RECEIVER.1], plan),
    )?;
    receiver.await_line("Listening on ")?;
    let mut begin = vec!["--address".to_owned(), SENDER.1.to_owned()];
    begin.extend(["--delay-us".to_owned(), plan.delay_us.to_string()]);
    let begin: Vec<&str> = begin.iter().map(|it| &**it).collect();
    let sender = Machine::boot(
        "the sending machine",
        kernel,
        Some(card(SENDER.0, plan.ring_delay_us, near)),
        words(&[&*begin, &["send", "-a", RECEIVER.1]].concat(), plan),
    )?;
    // What the sender says may be why the receiver has nothing.
    let (received, sent) = (receiver.end(), sender.end());
    let (received, sent) = match (received, sent) {
        (Err(error), Ok((_, said))) => return Err(error.and(said)),
        (received, sent) => (received?, sent?),
    };
    let (received, mut said) = received;
    let (sent, more) = sent;
    said.extend(more);
    match (received, sent) {
        (1, _) => Ok((true, said)),
        (0, 0) => Ok((false, said)),
        (received, sent) => Err(Error::Failed {
            who: "the two machines",
            what: format!("recv ended with status {received}, send with {sent}"),
            said,
        }),
    }
}

fn card(mac: [u8; 6], ring_delay_us: u32, port: OwnedFd) -> Card {
    Card {
        mac,
        ring_delay_us,
        port: Arc::new(port),
    }
}

fn over_loopback(kernel: &Kernel, plan: &Plan) -> Result<(bool, Vec<String>), Error> {
    let to = "127.0.0.1";
    let beside = words(&["-a", to], plan);
    let beside: Vec<&str> = beside.iter().map(|it| &**it).collect();
    let beside = beside.join(" ");
    let machine = Machine::boot(
        "the machine",
        kernel,
        None,
        words(&["--beside", &beside, "send", "-a", to], plan),
    )?;
    match machine.end()? {
        (1, said) => Ok((true, said)),
        (0, said) => Ok((false, said)),
        (status, said) => Err(Error::Failed {
            who: "the machine",
            what: format!("it ended with status {status}"),
            said,
        }),
    }
}

/// The arguments of a program, behind those that only it has.
fn words(own: &[&str], plan: &Plan) -> Vec<String> {
    let mut words: Vec<String> = own.iter().map(|it| (*it).to_owned()).collect();
    let sends = own.contains(&"send");
    let mut add = |name: &str, value: &dyn ToString| {
        words.extend([name.to_owned(), value.to_string()]);
    };
    add("-p", &PORT);
    add("-c", &plan.count);
    if sends {
        add("-f", &FILE);
        add("-n", &plan.rounds);
        add("-i", &plan.interval_ms);
    }
    words.push("--progress".to_owned());
    words
}

/// One of the machines.
struct Machine {
    who: &'static str,
    guest: Guest,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Machine {
    fn boot(
        who: &'static str,
        kernel: &Kernel,
        card: Option<Card>,
        arguments: Vec<String>,
    ) -> Result<Machine, engine::Error> {
        let host = |source| engine::Error::Host {
            what: "start a machine".into(),
            source,
        };
        let mut boot = Boot::of(kernel, std::env::current_exe().map_err(host)?);
        boot.args = vec![NODE.into(), "--zeros".into(), FILE.into()];
        boot.args
            .extend(["--bytes".into(), FILE_BYTES.to_string().into()]);
        boot.args.extend(arguments.into_iter().map(Into::into));
        boot.memory_mib = kernel.memory_mib(MEMORY_MIB);
        boot.idle_limit = Some(IDLE_LIMIT);
        boot.card = card;
        let mut guest = engine::spawn(boot)?;
        let (tell, lines) = mpsc::channel();
        for stream in [guest.take_stdout(), guest.take_stderr()] {
            let tell = tell.clone();
            thread::Builder::new()
                .spawn(move || relay(stream, &tell))
                .map_err(host)?;
        }
        Ok(Machine {
            who,
            guest,
            lines,
            said: Vec::new(),
        })
    }

    /// Waits until the program says so.
    fn await_line(&mut self, begins: &str) -> Result<(), Error> {
        let deadline = Instant::now() + BOOT_LIMIT;
        while let Ok(line) = self
            .lines
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            let found = line.starts_with(begins);
            self.said.push(line);
            if found {
                return Ok(());
            }
        }
        Err(Error::Failed {
            who: self.who,
            what: format!("it did not say `{}`", begins.trim_end()),
            said: std::mem::take(&mut self.said),
        })
    }

    /// The program's status, and all that it said.
    fn end(mut self) -> Result<(u8, Vec<String>), Error> {
        self.said.extend(self.lines.iter());
        let outcome = self.guest.wait()?;
        let splats = outcome.splats();
        match outcome.exit {
            Exit::Status(status) if splats.is_empty() => Ok((status, self.said)),
            exit => {
                self.said.extend(splats);
                Err(Error::Failed {
                    who: self.who,
                    what: format!("{exit:?}"),
                    said: self.said,
                })
            }
        }
    }
}

fn relay(stream: impl Read, tell: &mpsc::Sender<String>) {
    let lines = BufReader::new(stream).lines();
    for line in lines.map_while(io::Result::ok) {
        // Who has lost interest has ended the machine.
        let _ = tell.send(line.trim_end().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_gets_its_own_arguments() {
        let plan = Plan {
            rounds: 7,
            count: 4096,
            interval_ms: 2,
            ring_delay_us: 0,
            delay_us: 0,
        };
        assert_eq!(
            words(&["recv", "-a", "192.0.2.2"], &plan).join(" "),
            "recv -a 192.0.2.2 -p 2008 -c 4096 --progress"
        );
        assert_eq!(
            words(&["send", "-a", "192.0.2.2"], &plan).join(" "),
            "send -a 192.0.2.2 -p 2008 -c 4096 -f /tmp/zeros -n 7 -i 2 --progress"
        );
    }
}
