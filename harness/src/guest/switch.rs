//! What stands between the cards of two machines: two TAP interfaces in a network
//! namespace of their own, whose kernel passes packets from one to the other.
//!
//! TAP takes packets whose checksums are not computed yet, and long ones. Only a card that
//! may leave both to somebody else lets TCP hand it references to pages: with any other
//! backend the guest's kernel copies what it sends (net/ipv4/tcp.c: sk_route_caps), and
//! there is no race.

use std::fs;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::namespaces::Identity;
use super::rtnl::Rtnl;
use super::tun;

const NAMES: [&str; 2] = ["port0", "port1"];
/// Its own address at both ports, which nobody asks for.
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));

/// Moves this process, which has one thread, into namespaces of its own, makes a switch
/// there for machines with these addresses, and hands its ports to whoever has the other
/// end of `socket`. The switch lives as long as somebody has the ports open.
///
/// # Errors
/// The kernel has no TUN, or does not let this user make namespaces.
pub fn hand_over(socket: BorrowedFd<'_>, machines: [IpAddr; 2]) -> io::Result<()> {
    enter()?;
    let ports = make(machines)?;
    let fds = [ports[0].as_raw_fd(), ports[1].as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    let text = [IoSlice::new(b"ports")];
    sendmsg::<()>(socket.as_raw_fd(), &text, &message, MsgFlags::empty(), None)?;
    Ok(())
}

fn enter() -> io::Result<()> {
    if nix::unistd::geteuid().is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    Identity::own().enter(CloneFlags::CLONE_NEWNET)
}

fn make(machines: [IpAddr; 2]) -> io::Result<[OwnedFd; 2]> {
    let open = |name| tun::open(name, libc::IFF_TAP, 0);
    let ports = [open(NAMES[0])?.into(), open(NAMES[1])?.into()];
    let mut rtnl = Rtnl::open();
    for (name, machine) in NAMES.into_iter().zip(machines) {
        let port = rtnl.interface(name)?;
        // Whoever asks for the other machine is answered with this port's address.
        fs::write(format!("/proc/sys/net/ipv4/conf/{name}/proxy_arp"), "1")?;
        rtnl.add_peer(port, OWN, machine)?;
        rtnl.bring_up(port, None)?;
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    Ok(ports)
}
