//! The few rtnetlink(7) requests that a link needs, behind one small type: the
//! netlink crate is young, and nothing else of the suite sees it.

mod distribution;
mod hold;
mod mirror;
mod mtu;

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_bindings::rt_link::{self, Ifinfomsg};
use netlink_bindings::tc::{
    self, OptionsMsg, TcNetemCorr, TcNetemCorrupt, TcNetemGemodel, TcNetemQopt, TcNetemRate,
    TcNetemReorder, TcNetemSlot, Tcmsg,
};
use netlink_bindings::{rt_addr, rt_neigh};
use netlink_socket2::NetlinkSocket;

pub use hold::{COUNTED_NS, Gate};

use crate::scenario::Netem;

/// The end of the pair that is named.
pub const NEAR: &str = "near0";
/// The other end, which gets the first free name of its kind.
pub const FAR: &str = "veth0";
/// The ends of a link of TUN interfaces.
pub const TUN: [&str; 2] = ["tunnear0", "tunfar0"];

const TC_H_ROOT: u32 = 0xffff_ffff;
const IFF_UP: u32 = 1;
const IFA_F_NODAD: u8 = 2;
const NUD_PERMANENT: u16 = 0x80;
/// Queue length of netem where the scenario says nothing; what tc(8) uses.
const DEFAULT_LIMIT_PACKETS: u32 = 1000;

/// Settings remembered as checked.
const MOST_CHECKED: usize = 4096;

/// An rtnetlink socket of the namespace in which it was opened.
pub struct Rtnl {
    socket: NetlinkSocket,
    checked: HashSet<Wire>,
    /// Interfaces whose queue duplicates.
    duplicating: HashSet<i32>,
}

impl std::fmt::Debug for Rtnl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rtnl")
    }
}

/// One network interface.
#[derive(Debug, Clone, Copy)]
pub struct Interface {
    index: i32,
}

impl Rtnl {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Rtnl {
        let mut socket = NetlinkSocket::new();
        // The socket is opened by the first request: make it now, while the
        // thread is in the right namespace.
        let mut request = rt_link::Request::new().op_getlink_do(&Ifinfomsg::default());
        request.encode().push_ifname_bytes(b"lo");
        if let Ok(mut reply) = socket.request(&request) {
            let _ = reply.recv_one();
        }
        Rtnl {
            socket,
            checked: HashSet::new(),
            duplicating: HashSet::new(),
        }
    }

    /// Makes a veth(4) pair [`NEAR`], [`FAR`] in this namespace.
    pub fn add_veth_pair(&mut self) -> io::Result<()> {
        self.add_link(NEAR, c"veth", "add veth pair")
    }

    /// Makes an interface of a kind; `what` that is for, for an error.
    fn add_link(&mut self, name: &str, kind: &CStr, what: &str) -> io::Result<()> {
        let mut request = rt_link::Request::new()
            .set_create()
            .set_excl()
            .op_newlink_do(&Ifinfomsg::default());
        request
            .encode()
            .push_ifname_bytes(name.as_bytes())
            .nested_linkinfo()
            .push_kind(kind)
            .end_nested();
        self.acknowledge(what, |socket| socket.request(&request)?.recv_ack())
    }

    /// Looks an interface up by name.
    pub fn interface(&mut self, name: &str) -> io::Result<Interface> {
        let mut request = rt_link::Request::new().op_getlink_do(&Ifinfomsg::default());
        request.encode().push_ifname_bytes(name.as_bytes());
        let mut replies = self.socket.request(&request)?;
        let (header, _) = replies
            .recv_one()
            .map_err(|error| context(&format!("look up {name}"), error.as_io_error()))?;
        Ok(Interface {
            index: header.ifi_index,
        })
    }

    /// Moves an interface into another namespace.
    pub fn move_to(&mut self, interface: Interface, netns: BorrowedFd<'_>) -> io::Result<()> {
        let header = Ifinfomsg {
            ifi_index: interface.index,
            ..Default::default()
        };
        let mut request = rt_link::Request::new().op_setlink_do(&header);
        request.encode().push_net_ns_fd(netns.as_raw_fd() as u32);
        self.acknowledge("move interface", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }

    /// Gives an interface this hardware address, if it has any, and brings it up.
    pub fn bring_up(&mut self, interface: Interface, mac: Option<[u8; 6]>) -> io::Result<()> {
        let header = Ifinfomsg {
            ifi_index: interface.index,
            ifi_flags: IFF_UP,
            ifi_change: IFF_UP,
            ..Default::default()
        };
        let mut request = rt_link::Request::new().op_setlink_do(&header);
        if let Some(mac) = mac {
            request.encode().push_address(&mac);
        }
        self.acknowledge("bring interface up", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }

    /// Assigns an address. IPv6 comes without duplicate address detection, which
    /// would keep it unusable for a second.
    pub fn add_address(
        &mut self,
        interface: Interface,
        address: IpAddr,
        prefix_len: u8,
    ) -> io::Result<()> {
        let header = rt_addr::Ifaddrmsg {
            ifa_family: family(address),
            ifa_index: interface.index as u32,
            ifa_prefixlen: prefix_len,
            ifa_flags: if address.is_ipv6() { IFA_F_NODAD } else { 0 },
            ..Default::default()
        };
        let mut request = rt_addr::Request::new()
            .set_create()
            .set_excl()
            .op_newaddr_do(&header);
        request.encode().push_local(address);
        self.acknowledge("add address", |socket| socket.request(&request)?.recv_ack())
    }

    /// Assigns an address, and says who is at the other end of the interface.
    pub fn add_peer(
        &mut self,
        interface: Interface,
        address: IpAddr,
        peer: IpAddr,
    ) -> io::Result<()> {
        let header = rt_addr::Ifaddrmsg {
            ifa_family: family(address),
            ifa_index: interface.index as u32,
            ifa_prefixlen: if address.is_ipv6() { 128 } else { 32 },
            ..Default::default()
        };
        let mut request = rt_addr::Request::new()
            .set_create()
            .set_excl()
            .op_newaddr_do(&header);
        request.encode().push_local(address).push_address(peer);
        self.acknowledge("add address", |socket| socket.request(&request)?.recv_ack())
    }

    /// Adds a neighbour that never needs to be asked for: address resolution
    /// would otherwise wait in the delay queue ahead of the first packet.
    pub fn add_neighbour(
        &mut self,
        interface: Interface,
        address: IpAddr,
        mac: [u8; 6],
    ) -> io::Result<()> {
        let header = rt_neigh::Ndmsg {
            ndm_family: family(address),
            ndm_ifindex: interface.index,
            ndm_state: NUD_PERMANENT,
            ..Default::default()
        };
        let mut request = rt_neigh::Request::new()
            .set_create()
            .set_replace()
            .op_newneigh_do(&header);
        request.encode().push_dst(address).push_lladdr(&mac);
        self.acknowledge("add neighbour", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }

    /// Makes `netem` the root queue of an interface: a new queue with a new
    /// `handle`, so that nothing of the old one is left. Reads it back.
    pub fn set_netem(
        &mut self,
        interface: Interface,
        handle: u16,
        netem: &Netem,
    ) -> io::Result<()> {
        let header = Tcmsg {
            ifindex: interface.index,
            handle: u32::from(handle) << 16,
            parent: TC_H_ROOT,
            ..Default::default()
        };
        let wanted = Wire::of(netem);
        let mut request = tc::Request::new()
            .set_create()
            .set_replace()
            .op_newqdisc_do(&header);
        let mut options = request
            .encode()
            .nested_options_netem(&wanted.qopt)
            .push_latency64(wanted.latency_ns)
            .push_jitter64(wanted.jitter_ns)
            .push_reorder(wanted.reorder.clone())
            .push_rate(wanted.rate.clone())
            .push_prng_seed(mix(netem.seed));
        // What is rare is left out where it is not asked for.
        if wanted.correlation != TcNetemCorr::default() {
            options = options.push_corr(wanted.correlation.clone());
        }
        if wanted.corrupt.probability > 0 {
            options = options.push_corrupt(wanted.corrupt.clone());
        }
        if let Some(model) = wanted.bursts.clone() {
            options = options.nested_loss().push_ge(model).end_nested();
        }
        if wanted.slot_ns > 0 {
            options = options.push_slot(TcNetemSlot {
                min_delay: wanted.slot_ns,
                max_delay: wanted.slot_ns,
                ..Default::default()
            });
        }
        if wanted.mark {
            options = options.push_ecn(1);
        }
        if let Some(table) = distribution::table(netem.distribution) {
            options = options.push_delay_dist(table);
        }
        options.end_nested();
        // Linux 6.1.y refuses to replace a netem queue where the old or the new one
        // duplicates, as if both were to stay (net/sched/sch_netem.c:
        // check_netem_in_tree): so take the old one away first.
        let duplicates = netem.duplicate_ppm > 0;
        if duplicates || self.duplicating.contains(&interface.index) {
            self.remove_queue(interface)?;
        }
        match duplicates {
            true => self.duplicating.insert(interface.index),
            false => self.duplicating.remove(&interface.index),
        };
        self.acknowledge("set netem", |socket| socket.request(&request)?.recv_ack())?;
        // Once is enough to know that this kernel takes these settings.
        if !self.checked.contains(&wanted) {
            self.check_netem(interface, &wanted)?;
            if self.checked.len() >= MOST_CHECKED {
                self.checked.clear();
            }
            self.checked.insert(wanted);
        }
        Ok(())
    }

    /// Takes the root queue of an interface away. What the kernel puts there by
    /// itself cannot be, and need not be.
    fn remove_queue(&mut self, interface: Interface) -> io::Result<()> {
        let request = tc::Request::new().op_delqdisc_do(&Tcmsg {
            ifindex: interface.index,
            parent: TC_H_ROOT,
            ..Default::default()
        });
        let result = self.acknowledge("remove netem", |socket| {
            socket.request(&request)?.recv_ack()
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn check_netem(&mut self, interface: Interface, wanted: &Wire) -> io::Result<()> {
        let header = Tcmsg {
            ifindex: interface.index,
            ..Default::default()
        };
        let request = tc::Request::new().op_getqdisc_dump(&header);
        let mut replies = self.socket.request(&request)?;
        let mut seen = None;
        while let Some(reply) = replies.recv() {
            let (reply, attributes) =
                reply.map_err(|error| context("read netem back", error.as_io_error()))?;
            if reply.ifindex != interface.index || reply.parent != TC_H_ROOT {
                continue;
            }
            if let Ok(OptionsMsg::Netem(qopt, options)) = attributes.get_options() {
                seen = Some(Wire {
                    latency_ns: options.get_latency64().unwrap_or(0),
                    jitter_ns: options.get_jitter64().unwrap_or(0),
                    reorder: options.get_reorder().unwrap_or_default(),
                    rate: TcNetemRate {
                        cell_size: 0,
                        ..options.get_rate().unwrap_or_default()
                    },
                    correlation: options.get_corr().unwrap_or_default(),
                    corrupt: options.get_corrupt().unwrap_or_default(),
                    bursts: options.get_loss().ok().and_then(|loss| loss.get_ge().ok()),
                    slot_ns: options.get_slot().map_or(0, |it| it.min_delay),
                    mark: options.get_ecn().is_ok_and(|it| it != 0),
                    qopt: TcNetemQopt {
                        latency: 0,
                        jitter: 0,
                        ..qopt
                    },
                });
            }
        }
        match seen {
            Some(seen) if seen == *wanted => Ok(()),
            seen => Err(io::Error::other(format!(
                "netem is not what was asked for: wanted {wanted:?}, the kernel has {seen:?}"
            ))),
        }
    }

    fn acknowledge(
        &mut self,
        what: &str,
        request: impl FnOnce(&mut NetlinkSocket) -> Result<(), netlink_socket2::ReplyError>,
    ) -> io::Result<()> {
        request(&mut self.socket).map_err(|error| context(what, error.as_io_error()))
    }
}

/// A [`Netem`] in netem's own units.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Wire {
    latency_ns: i64,
    jitter_ns: i64,
    reorder: TcNetemReorder,
    rate: TcNetemRate,
    correlation: TcNetemCorr,
    corrupt: TcNetemCorrupt,
    /// The model of Gilbert and Elliott: good and bad times, in which nothing passes.
    bursts: Option<TcNetemGemodel>,
    slot_ns: i64,
    mark: bool,
    qopt: TcNetemQopt,
}

impl Wire {
    fn of(netem: &Netem) -> Wire {
        let correlation = probability(netem.correlation_ppm);
        // Only where there is something to correlate: the kernel tells no other.
        let following = |chance: bool| if chance { correlation } else { 0 };
        let bursts = netem.recover_ppm > 0;
        Wire {
            latency_ns: nanoseconds(netem.delay_us),
            jitter_ns: nanoseconds(netem.jitter_us),
            reorder: TcNetemReorder {
                probability: probability(netem.reorder_ppm),
                correlation: following(netem.reorder_ppm > 0),
            },
            rate: TcNetemRate {
                rate: u32::try_from(netem.rate_bps / 8).unwrap_or(u32::MAX),
                packet_overhead: i32::try_from(netem.overhead_bytes).unwrap_or(i32::MAX),
                ..Default::default()
            },
            correlation: TcNetemCorr {
                delay_corr: following(netem.jitter_us > 0),
                loss_corr: following(netem.loss_ppm > 0 && !bursts),
                dup_corr: following(netem.duplicate_ppm > 0),
            },
            corrupt: TcNetemCorrupt {
                probability: probability(netem.corrupt_ppm),
                correlation: following(netem.corrupt_ppm > 0),
            },
            bursts: bursts.then(|| TcNetemGemodel {
                p: probability(netem.loss_ppm),
                r: probability(netem.recover_ppm),
                ..Default::default()
            }),
            slot_ns: nanoseconds(netem.slot_us),
            mark: netem.mark,
            qopt: TcNetemQopt {
                limit: match netem.limit_packets {
                    0 => DEFAULT_LIMIT_PACKETS,
                    limit => limit,
                },
                loss: if bursts {
                    0
                } else {
                    probability(netem.loss_ppm)
                },
                duplicate: probability(netem.duplicate_ppm),
                // A gap turns reordering on; with 1 every packet is a candidate.
                gap: match netem.reorder_ppm {
                    0 => 0,
                    _ => netem.gap_packets.max(1),
                },
                ..Default::default()
            },
        }
    }
}

/// Parts per million in netem's scale, where u32::MAX is certainty.
fn probability(ppm: u32) -> u32 {
    let scaled = u64::from(ppm) * u64::from(u32::MAX) / 1_000_000;
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// Spreads a seed that people write over all 64 bits (the finalizer of splitmix64).
/// netem starts its generator from the seed as it is (include/linux/prandom.h:
/// prandom_seed_state), and after a small one the first number is next to 0: every
/// scenario with loss would lose its first packet.
fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn nanoseconds(us: u64) -> i64 {
    i64::try_from(us.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn context(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_seeds_fill_all_bits_and_stay_apart() {
        let mut seen = HashSet::new();
        for seed in 0..1000 {
            let mixed = mix(seed);
            assert!(seen.insert(mixed));
            assert!((16..48).contains(&mixed.count_ones()), "{seed}: {mixed:#x}");
        }
    }

    #[test]
    fn every_setting_reaches_netem_in_its_units() {
        let wire = Wire::of(&Netem {
            delay_us: 20_000,
            jitter_us: 3,
            loss_ppm: 1_000_000,
            duplicate_ppm: 500_000,
            reorder_ppm: 250_000,
            rate_bps: 8_000_000,
            limit_packets: 7,
            seed: 1,
            corrupt_ppm: 100_000,
            correlation_ppm: 500_000,
            gap_packets: 5,
            recover_ppm: 0,
            slot_us: 7,
            overhead_bytes: 100,
            ..Netem::default()
        });
        assert_eq!((wire.latency_ns, wire.jitter_ns), (20_000_000, 3_000));
        assert_eq!(wire.qopt.loss, u32::MAX);
        assert_eq!(wire.qopt.duplicate, u32::MAX / 2);
        assert_eq!((wire.reorder.probability, wire.qopt.gap), (u32::MAX / 4, 5));
        assert_eq!((wire.rate.rate, wire.qopt.limit), (1_000_000, 7));
        assert_eq!((wire.rate.packet_overhead, wire.slot_ns), (100, 7_000));
        assert_eq!(wire.corrupt.probability, u32::MAX / 10);
        assert_eq!(wire.correlation.loss_corr, u32::MAX / 2);
        assert_eq!(wire.reorder.correlation, u32::MAX / 2);
    }

    #[test]
    fn bursts_take_the_place_of_single_losses() {
        let wire = Wire::of(&Netem {
            loss_ppm: 100_000,
            recover_ppm: 500_000,
            ..Netem::default()
        });
        let model = wire.bursts.unwrap();
        assert_eq!((model.p, model.r), (u32::MAX / 10, u32::MAX / 2));
        assert_eq!((model.h, model.k1, wire.qopt.loss), (0, 0, 0));
    }

    #[test]
    fn a_link_of_no_settings_does_nothing() {
        let wire = Wire::of(&Netem::default());
        let nothing = (wire.latency_ns, wire.jitter_ns, wire.rate.rate);
        assert_eq!(nothing, (0, 0, 0));
        let qopt = &wire.qopt;
        let chances = (
            qopt.loss,
            qopt.duplicate,
            wire.reorder.probability,
            qopt.gap,
        );
        assert_eq!(chances, (0, 0, 0, 0));
        assert_eq!(qopt.limit, DEFAULT_LIMIT_PACKETS);
    }
}
