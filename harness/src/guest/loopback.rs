//! The loopback interface of the sender's namespace, with both ends of the connection on
//! it. What is sent is received in the same call, without a queue between.

use std::io;

use super::rtnl::{Interface, Rtnl};
use crate::scenario::{Device, DeviceKind};

/// The interface, and what it lets pass.
#[derive(Debug)]
pub struct Loopback {
    rtnl: Rtnl,
    interface: Interface,
    mtu_bytes: u32,
}

impl Loopback {
    /// Brings up what a new namespace has, but down.
    pub fn bring_up() -> io::Result<Loopback> {
        let mut rtnl = Rtnl::open();
        let interface = rtnl.interface("lo")?;
        rtnl.bring_up(interface, None)?;
        Ok(Loopback {
            rtnl,
            interface,
            mtu_bytes: Device::LOOPBACK_MTU_BYTES,
        })
    }

    /// Makes it what the setup says.
    pub fn configure(&mut self, device: &Device) -> io::Result<()> {
        debug_assert_eq!(device.kind, DeviceKind::Loopback);
        let wanted = device.mtu_bytes();
        if self.mtu_bytes != wanted {
            self.rtnl.set_mtu(self.interface, wanted)?;
            self.mtu_bytes = wanted;
        }
        Ok(())
    }
}
