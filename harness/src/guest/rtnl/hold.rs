//! Holding packets at the end of a link, and letting them go one by one.
//!
//! Below the queue that delays stands a second netem, which never delays: it counts.
//! netem has *slots*: so many packets pass, then none until the next slot, which here
//! is never. A packet takes part in a slot if it was due before the slot began
//! (net/sched/sch_netem.c:netem_dequeue); so packets that are yet to come are made due
//! before they come, by a table of delays whose only entry is below zero. All of that
//! happens in the kernel: however many packets come at once, exactly so many pass.
//!
//! A change of netem's settings starts nothing. Below both stands a plug, always open:
//! to open it once more makes the kernel look at the whole queue.

use std::io;

use netlink_bindings::tc::{self, TcNetemQopt, TcNetemSlot, TcPlugQopt, Tcmsg};

use super::{Interface, Rtnl};
use crate::scenario::limits::MAX_LIMIT_PACKETS;

/// The one class of a queue that has one.
const ONLY_CLASS: u32 = 1;
/// TCQ_PLUG_RELEASE_INDEFINITE (linux/pkt_sched.h).
const PLUG_OPEN: i32 = 2;
/// Longer than any scenario.
const NEVER_NS: i64 = 1_000_000 * 1_000_000_000;
/// In a table of delays this is -4 times the jitter, and the longest jitter is
/// INT_MAX nanoseconds.
const AHEAD: i16 = i16::MIN;

/// For how long after a [`Gate::Passing`] began packets are counted as they come; later
/// ones are held. The clock must show more than that, as times are never negative.
pub const COUNTED_NS: u64 = 4 * (i32::MAX as u64);

/// What a gate does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gate {
    /// Everything passes.
    #[default]
    Open,
    /// Nothing does. What waits already must have been let go before.
    Closed,
    /// So many packets pass, those that wait first.
    Passing(u32),
}

impl Gate {
    /// Whether a packet passes now.
    pub fn passes(self) -> bool {
        !matches!(self, Gate::Closed | Gate::Passing(0))
    }

    /// One has.
    pub fn count(&mut self) {
        if let Gate::Passing(packets) = self {
            *packets = packets.saturating_sub(1);
        }
    }
}

impl Rtnl {
    /// Puts a gate below the root queue `handle` of an interface: open.
    pub fn add_gate(&mut self, interface: Interface, handle: u16) -> io::Result<()> {
        self.set_gate(interface, handle, Gate::Open, false, true)?;
        let plug = TcPlugQopt {
            limit: u32::MAX,
            ..Default::default()
        };
        self.set_plug(interface, handle, &plug, true)?;
        self.look(interface, handle)
    }

    /// Changes what the gate below the root queue `handle` does.
    pub fn turn_gate(&mut self, interface: Interface, handle: u16, gate: Gate) -> io::Result<()> {
        // Who is due earlier goes first: those who come must not be due before those
        // who wait, unless all of those go now.
        let ahead = match gate {
            Gate::Passing(packets) => self.waiting(interface, handle)? < packets,
            Gate::Open | Gate::Closed => false,
        };
        self.set_gate(interface, handle, gate, ahead, false)?;
        self.look(interface, handle)
    }

    fn set_gate(
        &mut self,
        interface: Interface,
        handle: u16,
        gate: Gate,
        ahead: bool,
        create: bool,
    ) -> io::Result<()> {
        let (delay_ns, packets) = match gate {
            Gate::Open => (0, 0),
            // The first packet is due after the slot has begun, and begins the next.
            Gate::Closed => (NEVER_NS, 1),
            Gate::Passing(packets) => (NEVER_NS, i32::try_from(packets).unwrap_or(i32::MAX)),
        };
        let mut request = request(create).op_newqdisc_do(&Tcmsg {
            ifindex: interface.index,
            handle: gate_handle(handle),
            parent: u32::from(handle) << 16 | ONLY_CLASS,
            ..Default::default()
        });
        let qopt = TcNetemQopt {
            limit: MAX_LIMIT_PACKETS,
            ..Default::default()
        };
        request
            .encode()
            .nested_options_netem(&qopt)
            .push_delay_dist(&AHEAD.to_ne_bytes())
            .push_jitter64(if ahead { i32::MAX.into() } else { 0 })
            .push_slot(TcNetemSlot {
                min_delay: delay_ns,
                max_delay: delay_ns,
                max_packets: packets,
                ..Default::default()
            })
            .end_nested();
        self.acknowledge("set what holds packets", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }

    fn set_plug(
        &mut self,
        interface: Interface,
        handle: u16,
        plug: &TcPlugQopt,
        create: bool,
    ) -> io::Result<()> {
        let mut request = request(create).op_newqdisc_do(&Tcmsg {
            ifindex: interface.index,
            handle: plug_handle(handle),
            parent: gate_handle(handle) | ONLY_CLASS,
            ..Default::default()
        });
        request.encode().nested_options_plug(plug);
        self.acknowledge("set plug", |socket| socket.request(&request)?.recv_ack())
    }

    /// Lets the kernel see what may go.
    fn look(&mut self, interface: Interface, handle: u16) -> io::Result<()> {
        let open = TcPlugQopt {
            action: PLUG_OPEN,
            ..Default::default()
        };
        self.set_plug(interface, handle, &open, false)
    }

    /// How many packets wait at the gate.
    fn waiting(&mut self, interface: Interface, handle: u16) -> io::Result<u32> {
        let request = tc::Request::new().op_getqdisc_dump(&Tcmsg {
            ifindex: interface.index,
            ..Default::default()
        });
        let mut replies = self.socket.request(&request)?;
        let mut waiting = None;
        while let Some(reply) = replies.recv() {
            let (reply, attributes) =
                reply.map_err(|error| super::context("count packets", error.as_io_error()))?;
            if reply.ifindex == interface.index && reply.handle == gate_handle(handle) {
                waiting = attributes.get_stats().ok().map(|stats| stats.qlen);
            }
        }
        waiting.ok_or_else(|| io::Error::other("nothing here holds packets"))
    }
}

fn request(create: bool) -> tc::Request<'static> {
    match create {
        true => tc::Request::new().set_create().set_excl(),
        false => tc::Request::new(),
    }
}

fn gate_handle(root: u16) -> u32 {
    u32::from(0x10 | root) << 16
}

fn plug_handle(root: u16) -> u32 {
    u32::from(0x20 | root) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_counts_exactly() {
        let mut gate = Gate::Passing(2);
        for _ in 0..2 {
            assert!(gate.passes());
            gate.count();
        }
        assert!(!gate.passes());
        for (mut gate, passes) in [(Gate::Open, true), (Gate::Closed, false)] {
            gate.count();
            assert_eq!(gate.passes(), passes);
        }
    }
}
