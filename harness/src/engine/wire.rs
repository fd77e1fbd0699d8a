//! What joins the cards of two machines: see [`crate::guest::switch`], which a process of
//! its own makes, since a process with threads cannot move into a user namespace.

use std::io::{self, IoSliceMut, Read};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::Error;

/// The hidden subcommand of the process that makes a switch.
pub const SWITCH: &str = "switch";

/// The two ports of a switch, for machines with these addresses.
///
/// # Errors
/// This machine lets nobody make one: with what the process that tried said.
pub fn ports(machines: [IpAddr; 2]) -> Result<[OwnedFd; 2], Error> {
    let failed = |what: &str| Error::host(format!("make a network between two machines: {what}"));
    let (ours, theirs) = UnixStream::pair().map_err(failed("a pair of sockets"))?;
    let program = std::env::current_exe().map_err(failed("our own executable"))?;
    let mut child = Command::new(program)
        .arg(SWITCH)
        .args(machines.map(|it| it.to_string()))
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed("start a process"))?;
    let ports = receive(&ours).map_err(failed("hear of it"));
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut said);
    }
    child.wait().map_err(failed("wait for a process"))?;
    match ports? {
        Some(ports) => Ok(ports),
        None => Err(failed("no namespaces or no TUN here")(io::Error::new(
            io::ErrorKind::PermissionDenied,
            said.trim().to_owned(),
        ))),
    }
}

/// `None`: the other end was closed without handing anything over.
fn receive(socket: &UnixStream) -> io::Result<Option<[OwnedFd; 2]>> {
    let mut text = [0; 16];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut space = cmsg_space!([i32; 2]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just given us these; nobody else owns them.
            let fds = fds
                .into_iter()
                .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
            let fds: Vec<OwnedFd> = fds.collect();
            return Ok(fds.try_into().ok());
        }
    }
    Ok(None)
}
