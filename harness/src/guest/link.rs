//! The link: two network namespaces joined by veth, with netem on both ends.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use super::netns::NetNs;
use super::rtnl::{self, Interface, Rtnl};
use crate::scenario::{Family, Netem, Setup};

const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const RECEIVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Two namespaces joined by veth. The process stays in the sender's.
#[derive(Debug)]
pub struct Link {
    receiver: NetNs,
    data: Queue,
    ack: Queue,
}

impl Link {
    /// Moves the calling process into a new namespace, the sender's; makes the
    /// receiver's, and joins the two. Threads started later inherit the
    /// sender's namespace, so this comes before any of them.
    pub fn create() -> io::Result<Link> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let receiver = NetNs::create()?;
        let mut here = Rtnl::open();
        here.add_veth_pair()?;
        let far = here.interface(rtnl::FAR)?;
        here.move_to(far, receiver.fd())?;
        let near = here.interface(rtnl::NEAR)?;
        let data = Queue::join(here, near, Side::Sender)?;
        let ack = receiver.with(|| {
            let mut there = Rtnl::open();
            let far = there.interface(rtnl::FAR)?;
            Queue::join(there, far, Side::Receiver)
        })?;
        forget_paths()?;
        receiver.with(forget_paths)?;
        for family in [Family::Udp4, Family::Udp6] {
            await_ready(&receiver, family)?;
        }
        Ok(Link {
            receiver,
            data,
            ack,
        })
    }

    /// Makes both queues what the setup says. Queues without random numbers and
    /// without state are kept when nothing changed.
    pub fn configure(&mut self, setup: &Setup) -> io::Result<()> {
        self.data.configure(&setup.data)?;
        self.ack.configure(&setup.ack)
    }

    /// The receiver's namespace.
    pub fn receiver(&self) -> &NetNs {
        &self.receiver
    }

    /// The receiver's address.
    pub fn receiver_address(family: Family) -> IpAddr {
        Side::Receiver.address(family)
    }
}

/// TCP remembers round-trip times and windows of a peer for its next connection: what
/// a scenario does would depend on the ones before it.
fn forget_paths() -> io::Result<()> {
    std::fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")
}

/// Sends datagrams until one arrives. An interface that is up does not receive IPv6 at
/// once, the kernel sees to that later; TCP would send again, a datagram is lost.
fn await_ready(receiver: &NetNs, family: Family) -> io::Result<()> {
    const ATTEMPTS: usize = 1000;
    const PATIENCE: Duration = Duration::from_millis(10);
    let far = receiver.with(|| UdpSocket::bind((Side::Receiver.address(family), 0)))?;
    far.set_read_timeout(Some(PATIENCE))?;
    let near = UdpSocket::bind((Side::Sender.address(family), 0))?;
    near.connect(far.local_addr()?)?;
    for _ in 0..ATTEMPTS {
        // Refused, or not sent for want of a route: the next attempt tells.
        let _ = near.send(&[0]);
        if far.recv(&mut [0]).is_ok() {
            return Ok(());
        }
    }
    let message = format!("the link carries no {family}");
    Err(io::Error::new(io::ErrorKind::TimedOut, message))
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Sender,
    Receiver,
}

impl Side {
    fn address(self, family: Family) -> IpAddr {
        let host = match self {
            Side::Sender => 1,
            Side::Receiver => 2,
        };
        match family.over_ipv6() {
            false => Ipv4Addr::new(192, 0, 2, host).into(),
            true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into()).into(),
        }
    }

    fn mac(self) -> [u8; 6] {
        match self {
            Side::Sender => SENDER_MAC,
            Side::Receiver => RECEIVER_MAC,
        }
    }

    fn peer(self) -> Side {
        match self {
            Side::Sender => Side::Receiver,
            Side::Receiver => Side::Sender,
        }
    }
}

/// One end of the link and the queue on it.
#[derive(Debug)]
struct Queue {
    rtnl: Rtnl,
    interface: Interface,
    handle: u16,
    current: Option<Netem>,
}

impl Queue {
    fn join(mut rtnl: Rtnl, interface: Interface, side: Side) -> io::Result<Queue> {
        rtnl.bring_up(interface, side.mac())?;
        for (family, prefix_len) in [(Family::Tcp4, 24), (Family::Tcp6, 64)] {
            rtnl.add_address(interface, side.address(family), prefix_len)?;
            let peer = side.peer();
            rtnl.add_neighbour(interface, peer.address(family), peer.mac())?;
        }
        Ok(Queue {
            rtnl,
            interface,
            handle: 1,
            current: None,
        })
    }

    fn configure(&mut self, netem: &Netem) -> io::Result<()> {
        if self.current == Some(*netem) && !netem.is_random() {
            return Ok(());
        }
        // Unknown until the kernel has said yes.
        self.current = None;
        // A handle of its own makes the kernel graft a new queue, rather than
        // change the old one with its packets and its random state.
        self.handle = if self.handle == 1 { 2 } else { 1 };
        self.rtnl.set_netem(self.interface, self.handle, netem)?;
        self.current = Some(*netem);
        Ok(())
    }
}
