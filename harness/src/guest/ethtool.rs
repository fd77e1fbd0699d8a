//! What an interface does for the stack, by the ioctl of ethtool(8).

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use crate::scenario::Device;

/// linux/sockios.h
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// Something that can be switched: the commands that ask and that set
/// (linux/ethtool.h), and whether it is on with a device.
struct Offload {
    name: &'static str,
    get: u32,
    set: u32,
    wanted: fn(&Device) -> bool,
    /// The same, with what the kernel switches off since it needs another one
    /// (net/core/dev.c:netdev_fix_features).
    expected: fn(&Device) -> bool,
}

/// What others need comes first.
const OFFLOADS: [Offload; 5] = [
    Offload {
        name: "checksum",
        get: 0x16,
        set: 0x17,
        wanted: |it| !it.no_checksum,
        expected: |it| !it.no_checksum,
    },
    Offload {
        name: "scatter-gather",
        get: 0x18,
        set: 0x19,
        wanted: |it| !it.no_sg,
        expected: |it| !it.no_sg,
    },
    Offload {
        name: "TSO",
        get: 0x1e,
        set: 0x1f,
        wanted: |it| !it.no_tso,
        expected: |it| !(it.no_tso || it.no_sg || it.no_checksum),
    },
    Offload {
        name: "GSO",
        get: 0x23,
        set: 0x24,
        wanted: |it| !it.no_gso,
        expected: |it| !(it.no_gso || it.no_sg),
    },
    Offload {
        name: "GRO",
        get: 0x2b,
        set: 0x2c,
        wanted: |it| it.gro,
        expected: |it| it.gro,
    },
];

/// A socket to speak of an interface through.
#[derive(Debug)]
pub struct Ethtool {
    socket: Socket,
    interface: &'static str,
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl Ethtool {
    /// For an interface of the calling thread's namespace.
    pub fn open(interface: &'static str) -> io::Result<Ethtool> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        Ok(Ethtool { socket, interface })
    }

    /// Makes it what `to` says, where that differs from what it was with `from`.
    pub fn change(&self, from: &Device, to: &Device) -> io::Result<()> {
        let differ = |it: &&Offload| (it.wanted)(from) != (it.wanted)(to);
        for offload in OFFLOADS.iter().filter(differ) {
            let on = u32::from((offload.wanted)(to));
            self.call(offload.set, on).map_err(named(offload))?;
        }
        for offload in &OFFLOADS {
            let on = self.call(offload.get, 0).map_err(named(offload))? != 0;
            if on != (offload.expected)(to) {
                let message = format!("{} of {} is {on}", offload.name, self.interface);
                return Err(io::Error::other(message));
            }
        }
        Ok(())
    }

    fn call(&self, command: u32, data: u32) -> io::Result<u32> {
        let mut value = Value { command, data };
        // SAFETY: `ifreq` is plain data; the ioctl reads it, and reads and writes one
        // value, and both outlive it.
        unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(self.interface.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_data = (&raw mut value).cast();
            Errno::result(libc::ioctl(
                self.socket.as_raw_fd(),
                SIOCETHTOOL as _,
                &request,
            ))?;
        }
        Ok(value.data)
    }
}

fn named(offload: &Offload) -> impl FnOnce(io::Error) -> io::Error {
    let name = offload.name;
    move |error| io::Error::new(error.kind(), format!("{name}: {error}"))
}
