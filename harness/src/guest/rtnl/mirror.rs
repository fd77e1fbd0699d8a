//! An interface on which what is handed to the queue of another one is seen.
//!
//! A packet(7) socket sees a packet as it leaves the queue. Before it is queued, the hook of
//! clsact (net/core/dev.c: sch_handle_egress) sends a clone of it to an interface that
//! forgets it, and there the socket sees that.

use std::io;

use netlink_bindings::rt_link::{self, Ifinfomsg};
use netlink_bindings::tc::{self, Tcmsg};

use super::{Interface, Rtnl};

/// The interface that forgets.
const NAME: &str = "mirror0";
/// linux/pkt_sched.h
const TC_H_CLSACT: u32 = 0xffff_fff1;
const TC_H_EGRESS: u32 = 0xffff_fff3;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// linux/pkt_cls.h
const TC_ACT_PIPE: i32 = 3;
/// linux/tc_act/tc_mirred.h
const TCA_EGRESS_MIRROR: i32 = 2;

impl Rtnl {
    /// Makes the interface that forgets, in this namespace, and sends it a clone of all that
    /// is handed to the queue of `interface`. If that fails, nothing is left of it.
    pub fn add_mirror(&mut self, interface: Interface) -> io::Result<Interface> {
        self.add_link(NAME, c"dummy", "add a mirror")?;
        let made = self.begin_mirror(interface);
        if made.is_err() {
            // The first error is the one to tell.
            let _ = self.remove_interface();
        }
        made
    }

    fn begin_mirror(&mut self, interface: Interface) -> io::Result<Interface> {
        let mirror = self.interface(NAME)?;
        self.bring_up(mirror, None)?;
        self.hook(interface)?;
        let sent = self.send_clones(interface, mirror);
        if sent.is_err() {
            let _ = self.unhook(interface);
        }
        sent.map(|()| mirror)
    }

    /// Takes both away again.
    pub fn remove_mirror(&mut self, interface: Interface) -> io::Result<()> {
        let unhooked = self.unhook(interface);
        self.remove_interface()?;
        unhooked
    }

    fn remove_interface(&mut self) -> io::Result<()> {
        let mut request = rt_link::Request::new().op_dellink_do(&Ifinfomsg::default());
        request.encode().push_ifname_bytes(NAME.as_bytes());
        self.acknowledge("remove a mirror", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }

    fn unhook(&mut self, interface: Interface) -> io::Result<()> {
        let mut request = tc::Request::new().op_delqdisc_do(&clsact(interface));
        request.encode().push_kind(c"clsact");
        self.acknowledge("remove a hook", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }

    fn hook(&mut self, interface: Interface) -> io::Result<()> {
        let mut request = tc::Request::new()
            .set_create()
            .set_excl()
            .op_newqdisc_do(&clsact(interface));
        request.encode().push_kind(c"clsact");
        self.acknowledge("hook a queue", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }

    fn send_clones(&mut self, interface: Interface, mirror: Interface) -> io::Result<()> {
        let mut request = tc::Request::new()
            .set_create()
            .set_excl()
            .op_newtfilter_do(&Tcmsg {
                ifindex: interface.index,
                parent: TC_H_EGRESS,
                // Priority, and which protocols.
                info: 1 << 16 | u32::from((libc::ETH_P_ALL as u16).to_be()),
                ..Default::default()
            });
        // struct tc_mirred, of which all are numbers of 32 bits.
        let parms = [0, 0, TC_ACT_PIPE, 0, 0, TCA_EGRESS_MIRROR, mirror.index];
        request
            .encode()
            .nested_options_matchall()
            .array_act()
            // Actions are counted from 1.
            .entry_nested()
            .end_nested()
            .entry_nested()
            .nested_options_mirred()
            .push_parms(&parms.map(i32::to_ne_bytes).concat())
            .end_nested()
            .end_nested()
            .end_array()
            .end_nested();
        self.acknowledge("mirror a queue", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }
}

impl Interface {
    /// Its number.
    pub fn index(self) -> i32 {
        self.index
    }
}

fn clsact(interface: Interface) -> Tcmsg {
    Tcmsg {
        ifindex: interface.index,
        handle: CLSACT_HANDLE,
        parent: TC_H_CLSACT,
        ..Default::default()
    }
}
