//! A machine of a network of machines: its card gets an address, and no more.

use std::io;
use std::net::IpAddr;

use super::rtnl::Rtnl;
use crate::scenario::Netem;

/// The card of a PC, as the kernel calls the first one.
const CARD: &str = "eth0";

/// Gives the card an address, and a queue that delays what is sent by so many
/// microseconds; 0: the queue that it has.
///
/// # Errors
/// There is no card, or the kernel refuses.
pub fn set_up(address: IpAddr, prefix_len: u8, delay_us: u64) -> io::Result<()> {
    let mut rtnl = Rtnl::open();
    let card = rtnl.interface(CARD)?;
    rtnl.bring_up(card, None)?;
    rtnl.add_address(card, address, prefix_len)?;
    if delay_us > 0 {
        let netem = Netem {
            delay_us,
            ..Netem::default()
        };
        rtnl.set_netem(card, 1, &netem)?;
    }
    Ok(())
}
