//! How long a packet may be.

use std::io;
use std::net::IpAddr;

use netlink_bindings::rt_link::{self, Ifinfomsg};
use netlink_bindings::rt_route::{self, Rtmsg};

use super::{Interface, Rtnl, family};

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;

impl Rtnl {
    /// Sets what an interface lets pass.
    pub fn set_mtu(&mut self, interface: Interface, bytes: u32) -> io::Result<()> {
        let mut request = rt_link::Request::new().op_setlink_do(&Ifinfomsg {
            ifi_index: interface.index,
            ..Default::default()
        });
        request.encode().push_mtu(bytes);
        self.acknowledge("set the MTU", |socket| socket.request(&request)?.recv_ack())
    }

    /// Sets what goes to the network of an interface at most, where that is less than
    /// the interface lets pass.
    pub fn set_route_mtu(
        &mut self,
        interface: Interface,
        (network, prefix_len): (IpAddr, u8),
        own: IpAddr,
        bytes: Option<u32>,
    ) -> io::Result<()> {
        let header = Rtmsg {
            rtm_family: family(network),
            rtm_dst_len: prefix_len,
            rtm_table: RT_TABLE_MAIN,
            rtm_protocol: RTPROT_STATIC,
            rtm_scope: RT_SCOPE_LINK,
            rtm_type: RTN_UNICAST,
            ..Default::default()
        };
        let mut request = rt_route::Request::new()
            .set_create()
            .set_replace()
            .op_newroute_do(&header);
        let attributes = request
            .encode()
            .push_dst(network)
            .push_oif(interface.index as u32)
            .push_prefsrc(own);
        match bytes {
            Some(bytes) => drop(attributes.nested_metrics().push_mtu(bytes).end_nested()),
            None => drop(attributes),
        }
        self.acknowledge("set the MTU of a route", |socket| {
            socket.request(&request)?.recv_ack()
        })
    }
}
