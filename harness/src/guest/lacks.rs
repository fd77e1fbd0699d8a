//! What a kernel that was not built for this suite lacks, found by trying in namespaces of
//! our own, and what that means for a scenario: it is run another way, or it is skipped,
//! and who asked for it is told why.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::time::Duration;

use nix::sys::sendfile::sendfile64;
use nix::unistd::pipe;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::netns::NetNs;
use super::ring::Ring;
use super::rtnl::Rtnl;
use super::sysctl;
use super::tun::End;
use crate::engine;
use crate::scenario::{
    Borrowing, Congestion, Device, DeviceKind, Family, FileKind, Netem, Scenario, Sysctl, normalize,
};

/// Something that scenarios need of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// A pair of interfaces between two namespaces.
    Veth,
    /// The queue that delays and loses.
    Netem,
    /// The queues that hold packets and count them.
    Hold,
    /// Interfaces with a program behind them.
    Tun,
    /// TLS in the kernel.
    Ktls,
    /// MPTCP.
    Mptcp,
    /// AF_VSOCK within one machine.
    Vsock,
    /// Sends by reference over io_uring.
    IoUring,
    /// Congestion control by BBR.
    Bbr,
    /// Pages that sendfile puts into a pipe: from Linux 5.12 on.
    SendfileIn,
    /// A file system on a device of its own.
    Ext4,
    /// A setting of the stack that each namespace has for itself.
    Setting,
    /// A clock that only moves when nobody can run: waiting costs nothing by it.
    VirtualTime,
}

impl Feature {
    /// All that can be tried by itself.
    const TRIED: [Feature; 10] = [
        Feature::Veth,
        Feature::Netem,
        Feature::Hold,
        Feature::Tun,
        Feature::Ktls,
        Feature::Mptcp,
        Feature::Vsock,
        Feature::IoUring,
        Feature::Bbr,
        Feature::SendfileIn,
    ];

    fn name(self) -> &'static str {
        match self {
            Feature::Veth => "veth",
            Feature::Netem => "netem",
            Feature::Hold => "netem with slots, and plug",
            Feature::Tun => "TUN",
            Feature::Ktls => "kTLS",
            Feature::Mptcp => "MPTCP",
            Feature::Vsock => "vsock",
            Feature::IoUring => "io_uring",
            Feature::Bbr => "BBR",
            Feature::SendfileIn => "sendfile to a pipe",
            Feature::Ext4 => "ext4",
            Feature::Setting => "a setting of the stack",
            Feature::VirtualTime => "virtual time",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Feature::Veth => "sudo modprobe veth, or --engine uml",
            Feature::Netem => "sudo modprobe sch_netem, or --engine uml",
            Feature::Hold => "sudo modprobe -a sch_netem sch_plug, or --engine uml",
            Feature::Tun => {
                "sudo modprobe tun, and sudo chmod 666 /dev/net/tun for those who are not root; \
                 or --engine uml"
            }
            Feature::Ktls => "sudo modprobe tls, or --engine uml",
            Feature::Mptcp | Feature::SendfileIn | Feature::Setting | Feature::VirtualTime => {
                "--engine uml"
            }
            Feature::Vsock => "sudo modprobe vsock_loopback, or --engine uml",
            Feature::IoUring => "sudo sysctl -w kernel.io_uring_disabled=0, or --engine uml",
            Feature::Bbr => "sudo modprobe tcp_bbr, or --engine uml",
            Feature::Ext4 => "--engine uml: root of the machine alone mounts a device",
        }
    }

    fn attempt(self) -> io::Result<()> {
        match self {
            Feature::Veth => Rtnl::open().add_veth_pair(),
            Feature::Netem => {
                let mut rtnl = Rtnl::open();
                let interface = rtnl.interface("lo")?;
                rtnl.set_netem(interface, 1, &Netem::default())
            }
            Feature::Hold => {
                let mut rtnl = Rtnl::open();
                let interface = rtnl.interface("lo")?;
                rtnl.set_netem(interface, 1, &Netem::default())?;
                rtnl.add_gate(interface, 1)
            }
            Feature::Tun => End::create("tried0").map(drop),
            Feature::Ktls => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                let ulp = nix::sys::socket::sockopt::TcpUlp::default();
                // It is for connections, and this is none; but who says so is there.
                match nix::sys::socket::setsockopt(&socket, ulp, b"tls") {
                    Ok(()) | Err(nix::Error::ENOTCONN) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            Feature::Mptcp => {
                Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)).map(drop)
            }
            Feature::Vsock => vsock(),
            Feature::IoUring => Ring::open().map(drop),
            Feature::Bbr => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_tcp_congestion(Congestion::Bbr.name().as_bytes())
            }
            Feature::SendfileIn => {
                let (_read, write) = pipe()?;
                let file = File::open("/proc/self/exe")?;
                sendfile64(write, file, Some(&mut 0), 1)?;
                Ok(())
            }
            Feature::Ext4 | Feature::Setting | Feature::VirtualTime => Ok(()),
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn vsock() -> io::Result<()> {
    let listener = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    let any = SockAddr::vsock(libc::VMADDR_CID_LOCAL, libc::VMADDR_PORT_ANY);
    listener.bind(&any)?;
    listener.listen(1)?;
    let sender = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    sender.connect_timeout(&listener.local_addr()?, Duration::from_secs(1))
}

/// What a kernel lacks, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("no {what} here: {reason}; remedy: {remedy}")]
pub struct Lack {
    /// What it is.
    pub what: Feature,
    /// What happened when it was tried.
    pub reason: String,
    /// What may help.
    pub remedy: String,
}

impl Lack {
    fn new(what: Feature, reason: impl Into<String>) -> Lack {
        Lack {
            what,
            reason: reason.into(),
            remedy: what.remedy().to_owned(),
        }
    }

    /// What a scenario asks for that would take longer than `patience`, and has.
    pub fn of_patience(patience: Duration) -> Lack {
        let seconds = patience.as_secs();
        Lack::new(
            Feature::VirtualTime,
            format!("it waits for more than {seconds} s by the clock"),
        )
    }

    /// The lack that an error is about.
    pub fn of(error: &io::Error) -> Option<&Lack> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Lack> for io::Error {
    fn from(lack: Lack) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, lack)
    }
}

/// All that a kernel lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacks(Vec<Lack>);

impl Lacks {
    /// Those of the kernel that runs this. One that was built for the suite has all, and
    /// is not asked.
    pub fn here() -> io::Result<Lacks> {
        match engine::shares_kernel() {
            true => Lacks::find(),
            false => Ok(Lacks::default()),
        }
    }

    /// Tries everything, each in a network namespace of its own.
    pub fn find() -> io::Result<Lacks> {
        let mut lacks = Vec::new();
        for what in Feature::TRIED {
            if let Err(error) = NetNs::create()?.with(|| what.attempt()) {
                lacks.push(Lack::new(what, error.to_string()));
            }
        }
        // A file system that is on a device may not be mounted in a user namespace.
        lacks.push(Lack::new(
            Feature::Ext4,
            "a device cannot be mounted without being root outside",
        ));
        Ok(Lacks(lacks))
    }

    /// Whether nothing is amiss.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Lack> {
        self.0.iter()
    }

    /// That of one thing, if it is lacking.
    pub fn of(&self, what: Feature) -> Option<&Lack> {
        self.0.iter().find(|it| it.what == what)
    }

    /// `scenario` as it can be run here: as it is, or over the TUN link, where a program
    /// delays and holds packets.
    ///
    /// # Errors
    /// What it needs, and this kernel lacks.
    pub fn fit<'a>(&self, scenario: &'a Scenario) -> Result<Cow<'a, Scenario>, Lack> {
        if self.is_empty() {
            return Ok(Cow::Borrowed(scenario));
        }
        for what in needs(scenario) {
            self.require(what)?;
        }
        for sysctl in Sysctl::all() {
            if scenario.setup.stack.get(sysctl).is_some() {
                setting(sysctl)?;
            }
        }
        self.over(scenario)
    }

    fn require(&self, what: Feature) -> Result<(), Lack> {
        self.of(what).map_or(Ok(()), |lack| Err(lack.clone()))
    }

    /// Finds a link for it.
    fn over<'a>(&self, scenario: &'a Scenario) -> Result<Cow<'a, Scenario>, Lack> {
        let setup = &scenario.setup;
        let kind = setup.device.kind;
        if !setup.socket.family.passes_link() || kind == DeviceKind::Loopback {
            return Ok(Cow::Borrowed(scenario));
        }
        let ways = [&setup.data, &setup.ack];
        let missing = match () {
            () if ways.iter().all(|it| it.does_nothing()) => None,
            () => self.of(Feature::Netem),
        };
        if let Some(lack) = missing
            && !ways.iter().all(|it| it.only_delays())
        {
            return Err(lack.clone());
        }
        let missing = missing.or_else(|| match scenario.holds_any() {
            true => self.of(Feature::Hold),
            false => None,
        });
        let missing = match kind {
            DeviceKind::Veth => missing.or_else(|| self.of(Feature::Veth)),
            _ => missing,
        };
        let Some(lack) = missing else {
            if kind == DeviceKind::Tun {
                self.require(Feature::Tun)?;
            }
            return Ok(Cow::Borrowed(scenario));
        };
        // A program can do it, behind an interface that is like any other.
        let plain = Device {
            kind: DeviceKind::Tun,
            mtu_bytes: setup.device.mtu_bytes,
            ..Device::default()
        };
        let other = Device {
            kind: DeviceKind::Tun,
            ..setup.device
        };
        if plain != other {
            let reason = format!("{}; and a TUN link has no such interfaces", lack.reason);
            return Err(Lack::new(lack.what, reason));
        }
        if let Some(tun) = self.of(Feature::Tun) {
            let reason = format!(
                "{}; and no TUN link in its place: {}",
                lack.reason, tun.reason
            );
            return Err(Lack {
                remedy: format!("{}; else {}", lack.remedy, tun.remedy),
                ..Lack::new(lack.what, reason)
            });
        }
        if kind == DeviceKind::Tun {
            return Ok(Cow::Borrowed(scenario));
        }
        let mut moved = scenario.clone();
        moved.setup.device = plain;
        Ok(Cow::Owned(normalize::normalize(moved)))
    }
}

/// What a scenario needs beside a link.
fn needs(scenario: &Scenario) -> impl Iterator<Item = Feature> {
    let setup = &scenario.setup;
    let family = match setup.socket.family {
        Family::Ktls4 => Some(Feature::Ktls),
        Family::Mptcp4 | Family::Mptcp6 => Some(Feature::Mptcp),
        Family::Vsock => Some(Feature::Vsock),
        _ => None,
    };
    let has = |needed: bool, what: Feature| needed.then_some(what);
    let others = [
        has(setup.file.kind == FileKind::Ext4, Feature::Ext4),
        has(scenario.borrows(Borrowing::Uring), Feature::IoUring),
        has(
            scenario.steps.iter().any(|it| it.op.is_sendfile_in()),
            Feature::SendfileIn,
        ),
        has(
            setup.socket.tcp.congestion == Some(Congestion::Bbr),
            Feature::Bbr,
        ),
    ];
    family.into_iter().chain(others.into_iter().flatten())
}

/// Whether a namespace has the setting for itself: it can be opened for writing then.
fn setting(sysctl: Sysctl) -> Result<(), Lack> {
    let path = sysctl::path(sysctl);
    let opened = OpenOptions::new().write(true).open(&path);
    match opened.and_then(|_| fs::read_to_string(&path)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Lack::new(Feature::Setting, format!("{path}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::text;

    fn lacks(what: &[Feature]) -> Lacks {
        let lack = |it: &Feature| Lack::new(*it, "it was not built");
        Lacks(what.iter().map(lack).collect())
    }

    fn fitted(what: &[Feature], text: &str) -> Result<Scenario, Feature> {
        let text = format!("{text}\n\nsendfile 0+4096\nmmap-write 0+4096\n");
        let scenario = normalize::normalize(text::parse("t.scn", &text).unwrap());
        let fit = lacks(what).fit(&scenario).map(Cow::into_owned);
        fit.map_err(|lack| {
            assert!(lack.to_string().contains("remedy: "), "{lack}");
            lack.what
        })
    }

    #[test]
    fn what_only_delays_goes_over_the_link_that_needs_no_netem() {
        let kind = |what: &[Feature], text: &str| {
            fitted(what, text).map(|scenario| scenario.setup.device.kind)
        };
        const NETEM: &[Feature] = &[Feature::Netem, Feature::Hold];
        assert_eq!(kind(NETEM, "link data delay=20ms"), Ok(DeviceKind::Tun));
        assert_eq!(kind(&[], "link data delay=20ms"), Ok(DeviceKind::Veth));
        assert_eq!(kind(NETEM, ""), Ok(DeviceKind::Veth));
        assert_eq!(kind(&[Feature::Veth], ""), Ok(DeviceKind::Tun));
        assert_eq!(kind(NETEM, "link loopback"), Ok(DeviceKind::Loopback));
        let delayed = fitted(NETEM, "link data delay=20ms\nlink veth mtu=1400").unwrap();
        assert_eq!(delayed.setup.data.delay_us, 20_000);
        assert_eq!(delayed.setup.device.mtu_bytes, Some(1400));
    }

    #[test]
    fn what_nobody_can_do_is_refused() {
        const NETEM: &[Feature] = &[Feature::Netem, Feature::Hold];
        for (lacking, text, what) in [
            (NETEM, "link data loss=1%", Feature::Netem),
            (NETEM, "link data rate=1mbit", Feature::Netem),
            (NETEM, "link data limit=10", Feature::Netem),
            (
                NETEM,
                "link data delay=1ms\nlink veth no-tso",
                Feature::Netem,
            ),
            (
                &[Feature::Netem, Feature::Tun],
                "link data delay=1ms",
                Feature::Netem,
            ),
            (&[Feature::Tun], "link tun", Feature::Tun),
            (&[Feature::Ext4], "file ext4 size=4096", Feature::Ext4),
            (&[Feature::Ktls], "socket ktls4", Feature::Ktls),
            (&[Feature::Mptcp], "socket mptcp6", Feature::Mptcp),
            (&[Feature::Vsock], "socket vsock", Feature::Vsock),
            (&[Feature::Bbr], "socket tcp4 congestion=bbr", Feature::Bbr),
        ] {
            assert_eq!(fitted(lacking, text), Err(what), "{text}");
            assert!(fitted(&[], text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_error_carries_what_is_lacking() {
        let error = io::Error::from(Lack::new(Feature::Ktls, "no such file"));
        assert_eq!(Lack::of(&error).map(|it| it.what), Some(Feature::Ktls));
        assert_eq!(Lack::of(&io::Error::other("else")), None);
    }
}
