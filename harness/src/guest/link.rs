//! The link: two network namespaces joined by veth, with netem on both ends, and what
//! holds packets where a scenario asks for that.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock;
use super::ethtool::Ethtool;
use super::lacks::{Feature, Lacks};
use super::loopback::Loopback;
use super::netns::NetNs;
use super::rtnl::{self, COUNTED_NS, Gate, Interface, Rtnl};
use super::settle::forget_halves;
use super::sysctl::Sysctls;
use super::tun::{Carrier, End};
use crate::scenario::limits::LEAST_IPV6_MTU_BYTES;
use crate::scenario::{Device, DeviceKind, Family, Netem, Setup, Stack, Way};

const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const RECEIVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Two namespaces joined by veth. The process stays in the sender's.
#[derive(Debug)]
pub struct Link {
    receiver: NetNs,
    /// Or why there is none: only a scenario that asks for it has to know.
    veth: io::Result<Path>,
    /// The same.
    tun: io::Result<Path>,
    loopback: Loopback,
    current: DeviceKind,
    sysctls: Sysctls,
}

/// A way between the two.
#[derive(Debug)]
struct Path {
    queues: Arc<Queues>,
    device: Device,
}

/// The queues of both directions, for whoever holds packets.
#[derive(Debug)]
pub struct Queues {
    data: Mutex<Queue>,
    ack: Mutex<Queue>,
}

impl Link {
    /// Moves the calling process into a new namespace, the sender's; makes the
    /// receiver's, and joins the two. Threads started later inherit the
    /// sender's namespace, so this comes before any of them.
    pub fn create() -> io::Result<Link> {
        Link::create_of(&Lacks::default())
    }

    /// The same of what there is.
    pub fn create_of(lacks: &Lacks) -> io::Result<Link> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let receiver = NetNs::create()?;
        let has = Has {
            netem: lacks.of(Feature::Netem).is_none(),
            gate: lacks.of(Feature::Hold).is_none(),
        };
        let veth = match lacks.of(Feature::Veth) {
            None => Ok(join_veth(&receiver, has)?),
            Some(lack) => Err(lack.clone().into()),
        };
        forget_paths()?;
        receiver.with(forget_paths)?;
        if !clock::is_virtual()? {
            forget_halves()?;
            receiver.with(forget_halves)?;
        }
        if veth.is_ok() {
            for family in [Family::Udp4, Family::Udp6] {
                await_ready(&receiver, DeviceKind::Veth, family)?;
            }
        }
        let tun = join_tun(&receiver, has);
        let loopback = Loopback::bring_up()?;
        if clock::is_virtual()? {
            // It costs nothing, and who holds packets first is no later than others.
            await_countable()?;
        }
        Ok(Link {
            receiver,
            veth,
            tun,
            loopback,
            current: DeviceKind::Veth,
            sysctls: Sysctls::default(),
        })
    }

    /// Makes both queues what the setup says, and fit to hold packets where that is
    /// asked for. Queues without random numbers and without state are kept when nothing
    /// changed.
    pub fn configure(&mut self, setup: &Setup, holds: impl Fn(Way) -> bool) -> io::Result<()> {
        self.current = setup.device.kind;
        let path = match setup.device.kind {
            DeviceKind::Veth => (&mut self.veth, "veth"),
            DeviceKind::Tun => (&mut self.tun, "TUN"),
            // It has no queue.
            DeviceKind::Loopback => return self.loopback.configure(&setup.device),
        };
        let path = match path {
            (Ok(path), _) => path,
            (Err(error), name) => {
                let message = format!("no {name} interfaces: {error}");
                return Err(io::Error::new(error.kind(), message));
            }
        };
        path.set_device(&setup.device)?;
        for (way, netem) in [(Way::Data, &setup.data), (Way::Ack, &setup.ack)] {
            path.queues.of(way).configure(netem, holds(way))?;
        }
        Ok(())
    }

    /// Makes the stack at both ends what the setup says. What is made of a listener
    /// follows the settings that the listener was made with, so they come before it.
    pub fn set_stack(&mut self, stack: &Stack) -> io::Result<()> {
        self.sysctls.set(stack, &self.receiver)
    }

    /// Both queues of the way that was configured last; over loopback nobody turns any,
    /// and `None` may be there.
    pub fn queues(&self) -> Option<Arc<Queues>> {
        let path = match self.current {
            DeviceKind::Tun => &self.tun,
            DeviceKind::Veth | DeviceKind::Loopback => &self.veth,
        };
        Some(Arc::clone(&path.as_ref().ok()?.queues))
    }

    /// What was configured last.
    pub fn kind(&self) -> DeviceKind {
        self.current
    }

    /// The receiver's namespace.
    pub fn receiver(&self) -> &NetNs {
        &self.receiver
    }

    /// Runs `act` where the receiver is over this kind of link.
    pub fn at_receiver<T>(
        receiver: &NetNs,
        kind: DeviceKind,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match kind {
            DeviceKind::Veth | DeviceKind::Tun => receiver.with(act),
            DeviceKind::Loopback => act(),
        }
    }

    /// The interfaces that have a queue, the sender's first.
    pub fn queue_names(kind: DeviceKind) -> [Option<&'static str>; 2] {
        match kind {
            DeviceKind::Veth => [Some(rtnl::NEAR), Some(rtnl::FAR)],
            DeviceKind::Tun => rtnl::TUN.map(Some),
            DeviceKind::Loopback => [None; 2],
        }
    }

    /// The addresses of both ends, the sender's first.
    pub fn addresses(kind: DeviceKind, family: Family) -> [IpAddr; 2] {
        [Side::Sender, Side::Receiver].map(|side| side.address(kind, family))
    }

    /// The receiver's address.
    pub fn receiver_address(family: Family) -> IpAddr {
        Link::receiver_address_over(DeviceKind::Veth, family)
    }

    /// The same over another kind of link.
    pub fn receiver_address_over(kind: DeviceKind, family: Family) -> IpAddr {
        Side::Receiver.address(kind, family)
    }
}

impl Path {
    fn new(kind: DeviceKind, data: Queue, ack: Queue) -> Path {
        let (data, ack) = (Mutex::new(data), Mutex::new(ack));
        Path {
            queues: Arc::new(Queues { data, ack }),
            device: Device {
                kind,
                ..Device::default()
            },
        }
    }

    /// Makes the interfaces at both ends what the setup says.
    fn set_device(&mut self, device: &Device) -> io::Result<()> {
        if self.device == *device {
            return Ok(());
        }
        for (_, way) in Way::NAMED {
            self.queues.of(way).set_device(&self.device, device)?;
        }
        self.device = *device;
        Ok(())
    }
}

/// The way between the two that most scenarios take.
fn join_veth(receiver: &NetNs, has: Has) -> io::Result<Path> {
    const KIND: DeviceKind = DeviceKind::Veth;
    let mut here = Rtnl::open();
    here.add_veth_pair()?;
    let far = here.interface(rtnl::FAR)?;
    here.move_to(far, receiver.fd())?;
    silence(rtnl::NEAR)?;
    let near = here.interface(rtnl::NEAR)?;
    let data = Queue::join(here, near, (Side::Sender, KIND, has), rtnl::NEAR)?;
    let ack = receiver.with(|| {
        silence(rtnl::FAR)?;
        let mut there = Rtnl::open();
        let far = there.interface(rtnl::FAR)?;
        Queue::join(there, far, (Side::Receiver, KIND, has), rtnl::FAR)
    })?;
    Ok(Path::new(KIND, data, ack))
}

/// A second way between the two, of TUN interfaces.
fn join_tun(receiver: &NetNs, has: Has) -> io::Result<Path> {
    const KIND: DeviceKind = DeviceKind::Tun;
    let join = |side: Side, name: &'static str| {
        let end = End::create(name)?;
        silence(name)?;
        let mut rtnl = Rtnl::open();
        let interface = rtnl.interface(name)?;
        Ok::<_, io::Error>((end, Queue::join(rtnl, interface, (side, KIND, has), name)?))
    };
    let [near, far] = rtnl::TUN;
    let (near, mut data) = join(Side::Sender, near)?;
    let (far, mut ack) = receiver.with(|| join(Side::Receiver, far))?;
    let to = |side: Side| [Family::Tcp4, Family::Tcp6].map(|family| side.address(KIND, family));
    let kernel_waits = has.netem && has.gate;
    let start = |name, ends, to| Carrier::start(name, ends, to, kernel_waits);
    data.carrier = Some(start("data", (&near, &far), to(Side::Receiver))?);
    ack.carrier = Some(start("ack", (&far, &near), to(Side::Sender))?);
    for family in [Family::Udp4, Family::Udp6] {
        await_ready(receiver, KIND, family)?;
    }
    Ok(Path::new(KIND, data, ack))
}

/// The kernel would ask for routers as long as the interface is there, and those packets
/// were not the scenario's: netem draws random numbers for them, too.
fn silence(interface: &str) -> io::Result<()> {
    let settings = format!("/proc/sys/net/ipv6/conf/{interface}");
    std::fs::write(format!("{settings}/addr_gen_mode"), "1")?;
    std::fs::write(format!("{settings}/router_solicitations"), "0")
}

/// TCP remembers round-trip times and windows of a peer for its next connection: what
/// a scenario does would depend on the ones before it.
pub fn forget_paths() -> io::Result<()> {
    std::fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")
}

/// Sends datagrams until one arrives. An interface that is up does not receive IPv6 at
/// once, the kernel sees to that later; TCP would send again, a datagram is lost.
fn await_ready(receiver: &NetNs, kind: DeviceKind, family: Family) -> io::Result<()> {
    const ATTEMPTS: usize = 1000;
    const PATIENCE: Duration = Duration::from_millis(10);
    let far = receiver.with(|| UdpSocket::bind((Side::Receiver.address(kind, family), 0)))?;
    far.set_read_timeout(Some(PATIENCE))?;
    let near = UdpSocket::bind((Side::Sender.address(kind, family), 0))?;
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

/// Waits until packets can be counted.
fn await_countable() -> io::Result<()> {
    clock::await_uptime(Duration::from_nanos(COUNTED_NS))
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Sender,
    Receiver,
}

impl Side {
    fn address(self, kind: DeviceKind, family: Family) -> IpAddr {
        let host = match self {
            Side::Sender => 1,
            Side::Receiver => 2,
        };
        match (kind, family.over_ipv6()) {
            (DeviceKind::Veth, false) => Ipv4Addr::new(192, 0, 2, host).into(),
            (DeviceKind::Tun, false) => Ipv4Addr::new(198, 51, 100, host).into(),
            (DeviceKind::Loopback, false) => Ipv4Addr::LOCALHOST.into(),
            (DeviceKind::Loopback, true) => Ipv6Addr::LOCALHOST.into(),
            (kind, true) => {
                let net = kind as u16;
                Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host.into()).into()
            }
        }
    }

    /// The network of IPv4, which both ends are in.
    fn network(kind: DeviceKind) -> (IpAddr, u8) {
        let network = match kind {
            DeviceKind::Veth => Ipv4Addr::new(192, 0, 2, 0),
            DeviceKind::Tun => Ipv4Addr::new(198, 51, 100, 0),
            DeviceKind::Loopback => Ipv4Addr::new(127, 0, 0, 0),
        };
        (network.into(), 24)
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

impl Queues {
    /// Holds the packets of a direction from now on, but for the first `after`. False:
    /// they are held already.
    pub fn hold(&self, way: Way, after: u32) -> io::Result<bool> {
        let gate = match after {
            0 => Gate::Closed,
            packets => Gate::Passing(packets),
        };
        self.of(way).turn(gate, Holding::No)
    }

    /// Lets so many packets go from now on, or all. False: nothing is held.
    pub fn release(&self, way: Way, packets: Option<u32>) -> io::Result<bool> {
        let gate = packets.map_or(Gate::Open, Gate::Passing);
        self.of(way).turn(gate, Holding::Yes)
    }

    /// Lets everything go that is held, and holds nothing more in this scenario.
    pub fn end_holds(&self) -> io::Result<()> {
        for (_, way) in Way::NAMED {
            self.release(way, None)?;
            let mut queue = self.of(way);
            queue.holding = queue.holding.map(|_| Holding::Over);
        }
        Ok(())
    }

    fn of(&self, way: Way) -> MutexGuard<'_, Queue> {
        let queue = match way {
            Way::Data => &self.data,
            Way::Ack => &self.ack,
        };
        queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// In virtual time: until all that can run has run.
const MOMENT: Duration = Duration::from_micros(1);

/// One end of the link and the queue on it.
#[derive(Debug)]
struct Queue {
    rtnl: Rtnl,
    interface: Interface,
    side: Side,
    /// A TUN interface offloads nothing.
    ethtool: Option<Ethtool>,
    handle: u16,
    has: Has,
    /// What carries the packets to the other end, if the kernel does not.
    carrier: Option<Carrier>,
    current: Option<Netem>,
    /// `None`: it cannot hold packets.
    holding: Option<Holding>,
}

/// What the kernel has for queues. What it has not a [`Carrier`] can do in its place, if
/// there is one.
#[derive(Debug, Clone, Copy)]
struct Has {
    netem: bool,
    /// What holds packets.
    gate: bool,
}

/// Whether a queue that can hold packets does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    No,
    Yes,
    /// Not any more.
    Over,
}

impl Queue {
    fn join(
        mut rtnl: Rtnl,
        interface: Interface,
        (side, kind, has): (Side, DeviceKind, Has),
        name: &'static str,
    ) -> io::Result<Queue> {
        let has_mac = kind == DeviceKind::Veth;
        rtnl.bring_up(interface, has_mac.then(|| side.mac()))?;
        for (family, prefix_len) in [(Family::Tcp4, 24), (Family::Tcp6, 64)] {
            rtnl.add_address(interface, side.address(kind, family), prefix_len)?;
            let peer = side.peer();
            if has_mac {
                rtnl.add_neighbour(interface, peer.address(kind, family), peer.mac())?;
            }
        }
        Ok(Queue {
            rtnl,
            interface,
            side,
            ethtool: match kind {
                DeviceKind::Veth => Some(Ethtool::open(name)?),
                DeviceKind::Tun | DeviceKind::Loopback => None,
            },
            handle: 1,
            has,
            carrier: None,
            current: None,
            holding: None,
        })
    }

    /// With packets shorter than IPv6 can do with an interface would lose its IPv6
    /// (net/ipv6/addrconf.c:addrconf_notify), so there the route says it.
    fn set_device(&mut self, from: &Device, to: &Device) -> io::Result<()> {
        let (before, after) = (from.mtu_bytes(), to.mtu_bytes());
        let wide = |bytes: u32| bytes.max(LEAST_IPV6_MTU_BYTES);
        let narrow = |bytes: u32| (bytes < LEAST_IPV6_MTU_BYTES).then_some(bytes);
        if wide(before) != wide(after) {
            self.rtnl.set_mtu(self.interface, wide(after))?;
        }
        if narrow(before) != narrow(after) {
            let own = self.side.address(to.kind, Family::Tcp4);
            let network = Side::network(to.kind);
            let bytes = narrow(after);
            self.rtnl
                .set_route_mtu(self.interface, network, own, bytes)?;
        }
        match &self.ethtool {
            Some(ethtool) => ethtool.change(from, to),
            None => Ok(()),
        }
    }

    fn configure(&mut self, netem: &Netem, holds: bool) -> io::Result<()> {
        if let Some(carrier) = &self.carrier {
            let delay_us = if self.has.netem { 0 } else { netem.delay_us };
            let waits = delay_us > 0 || holds && !self.has.gate;
            let waits = waits.then(|| Duration::from_micros(delay_us));
            carrier.begin(netem.nth, waits)?;
        }
        let held_here = holds && !self.has.gate;
        if held_here && self.carrier.is_none() {
            return Err(unsupported("nothing here can hold packets"));
        }
        if !self.has.netem {
            let carried = self.carrier.is_some() && netem.only_delays();
            if !carried && !netem.does_nothing() {
                return Err(unsupported("there is no netem"));
            }
            self.holding = holds.then_some(Holding::No);
            return Ok(());
        }
        let same = self.current == Some(*netem) && self.holding.is_none() && !holds;
        if same && !netem.is_random() {
            return Ok(());
        }
        // Unknown until the kernel has said yes.
        self.current = None;
        // A handle of its own makes the kernel graft a new queue, rather than
        // change the old one with its packets and its random state.
        self.handle = if self.handle == 1 { 2 } else { 1 };
        self.holding = None;
        self.rtnl.set_netem(self.interface, self.handle, netem)?;
        if holds && !held_here {
            await_countable()?;
            self.rtnl.add_gate(self.interface, self.handle)?;
        }
        self.holding = holds.then_some(Holding::No);
        self.current = Some(*netem);
        Ok(())
    }

    /// Turns the gate, if packets are held or not as `holding` says; else false.
    fn turn(&mut self, gate: Gate, holding: Holding) -> io::Result<bool> {
        if self.holding != Some(holding) {
            return Ok(false);
        }
        match &self.carrier {
            Some(carrier) if !self.has.gate => carrier.turn(gate),
            _ => self.rtnl.turn_gate(self.interface, self.handle, gate)?,
        }
        self.holding = Some(match gate {
            Gate::Open => Holding::No,
            Gate::Closed | Gate::Passing(_) => Holding::Yes,
        });
        // What may go goes now; and what comes later is later by the clock as well.
        std::thread::sleep(MOMENT);
        Ok(true)
    }
}
