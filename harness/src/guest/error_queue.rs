//! The error queue of a socket, where the completions of MSG_ZEROCOPY are read
//! (Documentation/networking/msg_zerocopy.rst).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

// include/uapi/linux/errqueue.h
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

/// That the kernel is done with the pages of some calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The number of the first call.
    pub first: u32,
    /// That of the last one.
    pub last: u32,
    /// SO_EE_CODE_ZEROCOPY_COPIED.
    pub copied: bool,
}

/// SO_ZEROCOPY: from now on MSG_ZEROCOPY means something.
pub fn allow(socket: &impl AsFd) -> nix::Result<()> {
    set(socket, libc::SO_ZEROCOPY, 1)
}

/// SO_TIMESTAMPING: copies of what is sent come into the queue, with the time at which it
/// was given to the device, was sent, and was acknowledged.
pub fn have_times_told(socket: &impl AsFd) -> nix::Result<()> {
    let what: libc::c_uint = libc::SOF_TIMESTAMPING_TX_SCHED
        | libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_TX_ACK
        | libc::SOF_TIMESTAMPING_SOFTWARE;
    set(socket, libc::SO_TIMESTAMPING, what)
}

fn set(socket: &impl AsFd, option: libc::c_int, value: libc::c_uint) -> nix::Result<()> {
    // SAFETY: the option's value is an int, and it outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// Takes the next message about completions off the queue, and the times before it; `None`:
/// there is none.
///
/// # Errors
/// Those of recvmsg(2); EBADMSG if a message is about something else.
pub fn next(socket: &impl AsFd) -> nix::Result<Option<Done>> {
    while let Some(error) = next_of_any(socket)? {
        match error.ee_origin {
            SO_EE_ORIGIN_ZEROCOPY if error.ee_errno == 0 => {
                return Ok(Some(Done {
                    first: error.ee_info,
                    last: error.ee_data,
                    copied: error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED != 0,
                }));
            }
            libc::SO_EE_ORIGIN_TIMESTAMPING => {}
            _ => return Err(Errno::EBADMSG),
        }
    }
    Ok(None)
}

fn next_of_any(socket: &impl AsFd) -> nix::Result<Option<libc::sock_extended_err>> {
    // Aligned as a cmsghdr is; times, a sock_extended_err and an address fit several times.
    let mut told = [0_u64; 64];
    // SAFETY: all zero is a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = told.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&told);
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the message has room for nothing but what `told` holds, which outlives it.
    let result = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) };
    match Errno::result(result) {
        Err(Errno::EAGAIN) => return Ok(None),
        result => result?,
    };
    // SAFETY: the kernel has filled `told` and set how far.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // The level is that of the family, IP, IPv6 or AF_VSOCK; what follows is the same. Times
    // are told of by the socket's.
    // SAFETY: a header that is there lies in `told`, whole.
    while let Some(header) = unsafe { at.as_ref() } {
        // SAFETY: a number.
        let least = unsafe { libc::CMSG_LEN(size_of::<libc::sock_extended_err>() as u32) };
        if header.cmsg_level != libc::SOL_SOCKET && header.cmsg_len >= least as usize {
            // SAFETY: the header says that so much follows it; nothing is said about how it is
            // aligned.
            let error = unsafe {
                libc::CMSG_DATA(at)
                    .cast::<libc::sock_extended_err>()
                    .read_unaligned()
            };
            return Ok(Some(error));
        }
        // SAFETY: `at` is a header of the message.
        at = unsafe { libc::CMSG_NXTHDR(&raw const message, at) };
    }
    Err(Errno::EBADMSG)
}
