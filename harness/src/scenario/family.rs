//! Socket families, and what of a setup means anything to which.

use std::fmt;

/// Address family and protocol of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Family {
    /// TCP over IPv4.
    #[default]
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// TCP over IPv4 with TLS in the kernel: encrypted by the sender's socket,
    /// decrypted by the receiver's.
    Ktls4,
    /// Multipath TCP over IPv4, with one path.
    Mptcp4,
    /// Multipath TCP over IPv6, with one path.
    Mptcp6,
    /// A stream of AF_UNIX.
    Unix,
    /// Packets of AF_UNIX (SOCK_SEQPACKET): boundaries are kept, and none is lost.
    UnixSeqpacket,
    /// A stream of AF_VSOCK, to this machine itself.
    Vsock,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
}

impl Family {
    /// Each with its name, the simplest first.
    pub const NAMED: [(&'static str, Family); 10] = [
        ("tcp4", Family::Tcp4),
        ("tcp6", Family::Tcp6),
        ("ktls4", Family::Ktls4),
        ("mptcp4", Family::Mptcp4),
        ("mptcp6", Family::Mptcp6),
        ("unix", Family::Unix),
        ("unix-seqpacket", Family::UnixSeqpacket),
        ("vsock", Family::Vsock),
        ("udp4", Family::Udp4),
        ("udp6", Family::Udp6),
    ];

    /// Whether it is TCP and nothing above it. How a connection can end early is known
    /// of these only.
    pub fn is_plain_tcp(self) -> bool {
        matches!(self, Family::Tcp4 | Family::Tcp6)
    }

    /// Whether each send is a datagram that the link may lose and overtake.
    pub fn has_datagrams(self) -> bool {
        matches!(self, Family::Udp4 | Family::Udp6)
    }

    /// Whether the receiver gets records: a stream of which the boundaries are kept.
    pub fn has_records(self) -> bool {
        self == Family::UnixSeqpacket
    }

    /// Whether the receiver gets bytes, and cannot tell how they were sent.
    pub fn is_stream(self) -> bool {
        !self.has_datagrams() && !self.has_records()
    }

    /// Whether what is sent passes the link of the two namespaces.
    pub fn passes_link(self) -> bool {
        !matches!(self, Family::Unix | Family::UnixSeqpacket | Family::Vsock)
    }

    /// Whether its packets are IPv6.
    pub fn over_ipv6(self) -> bool {
        matches!(self, Family::Tcp6 | Family::Mptcp6 | Family::Udp6)
    }

    /// Whether the receiver answers over the link.
    pub fn is_acknowledged(self) -> bool {
        self.passes_link() && !self.has_datagrams()
    }

    /// Whether it is TCP by the socket's own words, whatever is in the stream.
    pub fn has_tcp_options(self) -> bool {
        self.is_plain_tcp() || self == Family::Ktls4
    }

    /// Whether a call can take a part of what it is given, so that the rest has to be
    /// sent by another one.
    pub fn has_short_sends(self) -> bool {
        !self.has_datagrams()
    }

    /// Whether it can be told not to wait for full segments (TCP_NODELAY).
    pub fn has_nodelay(self) -> bool {
        self.is_acknowledged()
    }

    /// Whether it can be told to wait for more (TCP_CORK, UDP_CORK).
    pub fn has_cork(self) -> bool {
        self.passes_link()
    }

    /// Whether it has times told of what it has sent (SO_TIMESTAMPING) in a queue of its own.
    /// AF_VSOCK and AF_UNIX know of none, and MPTCP leaves it to its subflows, of which nobody
    /// hears.
    pub fn has_timestamping(self) -> bool {
        self.passes_link() && !matches!(self, Family::Mptcp4 | Family::Mptcp6)
    }

    /// Whether SO_SNDBUF limits what it takes. AF_VSOCK has an option of its own.
    pub fn has_sndbuf(self) -> bool {
        self != Family::Vsock
    }

    /// Whether SO_RCVBUF limits what waits for the receiver. AF_UNIX counts that
    /// as the sender's, AF_VSOCK has an option of its own.
    pub fn has_rcvbuf(self) -> bool {
        self.passes_link()
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Family::NAMED[*self as usize];
        f.pad(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_name() {
        for (place, (name, family)) in Family::NAMED.into_iter().enumerate() {
            assert_eq!(family as usize, place);
            assert_eq!(family.to_string(), name);
        }
    }
}
