//! What the headers of a packet say.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv6ExtensionSlice, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use crate::scenario::Way;

/// What the headers of a packet say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// TCP.
    Tcp(Tcp),
    /// UDP; or a fragment of it.
    Udp {
        /// Tells fragments of one datagram from those of others.
        id: u32,
        /// Which part of the datagram it is; `None`: all of it.
        fragment: Option<Fragment>,
        /// Bytes of payload.
        len: u64,
    },
    /// Anything else, or too short to say.
    Other {
        /// Bytes.
        len: u64,
    },
}

/// What a TCP header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Bytes of payload.
    pub len: u64,
    /// SYN, FIN, RST.
    pub flags: [bool; 3],
}

/// Which part of a datagram's payload a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where it begins.
    pub from: u64,
    /// Bytes of the whole, which only the first says.
    pub of: Option<u64>,
    /// Whether others come behind it.
    pub more: bool,
}

/// Both ends of a connection, each an address and a port.
pub type Ends = ((IpAddr, u16), (IpAddr, u16));

/// The header of UDP, which stands in a datagram's first fragment.
const UDP_BYTES: usize = 8;

impl Head {
    /// Whether it is the same packet at another place.
    pub fn is(self, other: Head) -> bool {
        match (self, other) {
            (Head::Tcp(one), Head::Tcp(other)) if one.len > 0 => {
                (one.seq, one.len, one.flags) == (other.seq, other.len, other.flags)
            }
            _ => self == other,
        }
    }

    /// Whether the other one is a part of it.
    pub fn contains(self, other: Head) -> bool {
        let (Head::Tcp(whole), Head::Tcp(part)) = (self, other) else {
            return false;
        };
        let from = u64::from(part.seq.wrapping_sub(whole.seq));
        part.len > 0 && part.len < whole.len && from + part.len <= whole.len
    }
}

impl Fragment {
    /// What of a datagram it is, in words.
    pub fn words(self) -> String {
        match (self.from, self.of, self.more) {
            (0, Some(of), _) => format!("the first fragment of a datagram of {of} bytes"),
            (0, None, _) => "the first fragment of a datagram".to_string(),
            (_, _, true) => "a fragment of a datagram".to_string(),
            (_, _, false) => "the last fragment of a datagram".to_string(),
        }
    }
}

/// What IP says.
struct Ip {
    from: IpAddr,
    to: IpAddr,
    id: u32,
    /// In bytes behind the header.
    offset: u64,
    more: bool,
}

/// Both ends, the sender's first; what the headers say; and what is behind them.
pub fn parse(bytes: &[u8], way: Way) -> (Option<Ends>, Head, &[u8]) {
    let other = Head::Other {
        len: bytes.len() as u64,
    };
    let Ok(packet) = LaxSlicedPacket::from_ip(bytes) else {
        return (None, other, &[]);
    };
    let Some(ip) = packet.net.as_ref().and_then(ip) else {
        return (None, other, &[]);
    };
    let ends = |source: u16, destination: u16| {
        let (one, two) = ((ip.from, source), (ip.to, destination));
        Some(match way {
            Way::Data => (one, two),
            Way::Ack => (two, one),
        })
    };
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let payload = tcp.payload();
            let head = Head::Tcp(Tcp {
                seq: tcp.sequence_number(),
                ack: tcp.acknowledgment_number(),
                len: payload.len() as u64,
                flags: [tcp.syn(), tcp.fin(), tcp.rst()],
            });
            let ends = ends(tcp.source_port(), tcp.destination_port());
            (ends, head, payload)
        }
        Some(TransportSlice::Udp(udp)) => {
            let payload = udp.payload();
            let head = Head::Udp {
                id: ip.id,
                fragment: None,
                len: payload.len() as u64,
            };
            let ends = ends(udp.source_port(), udp.destination_port());
            (ends, head, payload)
        }
        _ => {
            let Some(rest) = packet.ip_payload() else {
                return (None, other, &[]);
            };
            let datagram = rest.fragmented && rest.ip_number == IpNumber::UDP;
            match datagram.then(|| fragment(&ip, rest.payload)).flatten() {
                Some((fragment, ports, payload)) => {
                    let head = Head::Udp {
                        id: ip.id,
                        fragment: Some(fragment),
                        len: payload.len() as u64,
                    };
                    let ends = ports.and_then(|[source, destination]| ends(source, destination));
                    (ends, head, payload)
                }
                None => (None, other, rest.payload),
            }
        }
    }
}

fn ip(net: &LaxNetSlice<'_>) -> Option<Ip> {
    match net {
        LaxNetSlice::Ipv4(slice) => {
            let head = slice.header();
            Some(Ip {
                from: head.source_addr().into(),
                to: head.destination_addr().into(),
                id: head.identification().into(),
                offset: head.fragments_offset().byte_offset().into(),
                more: head.more_fragments(),
            })
        }
        LaxNetSlice::Ipv6(slice) => {
            let head = slice.header();
            let fragment = slice
                .extensions()
                .clone()
                .into_iter()
                .find_map(|it| match it {
                    Ipv6ExtensionSlice::Fragment(fragment) => Some(fragment),
                    _ => None,
                });
            let said = fragment.map(|it| {
                let offset = it.fragment_offset().byte_offset().into();
                (it.identification(), offset, it.more_fragments())
            });
            let (id, offset, more) = said.unwrap_or_default();
            Some(Ip {
                from: head.source_addr().into(),
                to: head.destination_addr().into(),
                id,
                offset,
                more,
            })
        }
        _ => None,
    }
}

/// A part of a datagram, the ports that only the first has, and what it carries.
type Part<'a> = (Fragment, Option<[u16; 2]>, &'a [u8]);

/// The part of a datagram that is behind a header of IP.
fn fragment<'a>(ip: &Ip, behind: &'a [u8]) -> Option<Part<'a>> {
    let part = |from, of| Fragment {
        from,
        of,
        more: ip.more,
    };
    if ip.offset > 0 {
        let from = ip.offset.checked_sub(UDP_BYTES as u64)?;
        return Some((part(from, None), None, behind));
    }
    let (head, payload) = behind.split_at_checked(UDP_BYTES)?;
    let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let of = u64::from(field(4)).checked_sub(UDP_BYTES as u64);
    Some((part(0, of), Some([field(0), field(2)]), payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpFragOffset, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, UdpHeader};

    const PAYLOAD: usize = 3_000;
    /// Behind the header of IP.
    const PIECE: usize = 1_480;

    /// A datagram in three fragments, with headers of IPv4 or IPv6.
    fn fragments(v6: bool) -> Vec<Vec<u8>> {
        let mut datagram = UdpHeader {
            source_port: 1,
            destination_port: 2,
            length: (UDP_BYTES + PAYLOAD) as u16,
            checksum: 7,
        }
        .to_bytes()
        .to_vec();
        datagram.extend((0..PAYLOAD).map(|at| at as u8));
        let pieces: Vec<&[u8]> = datagram.chunks(PIECE).collect();
        let last = pieces.len() - 1;
        let packet = |(number, piece): (usize, &&[u8])| {
            let offset = IpFragOffset::try_new((number * PIECE / 8) as u16).unwrap();
            let more = number < last;
            let mut packet = match v6 {
                false => {
                    let len = piece.len() as u16;
                    let mut head =
                        Ipv4Header::new(len, 64, IpNumber::UDP, [192, 0, 2, 1], [192, 0, 2, 2])
                            .unwrap();
                    head.dont_fragment = false;
                    (head.identification, head.fragment_offset) = (77, offset);
                    head.more_fragments = more;
                    head.to_bytes().to_vec()
                }
                true => {
                    let head = Ipv6Header {
                        payload_length: (piece.len() + 8) as u16,
                        next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
                        hop_limit: 64,
                        source: [1; 16],
                        destination: [2; 16],
                        ..Ipv6Header::default()
                    };
                    let fragment = Ipv6FragmentHeader::new(IpNumber::UDP, offset, more, 77);
                    [&head.to_bytes()[..], &fragment.to_bytes()[..]].concat()
                }
            };
            packet.extend(*piece);
            packet
        };
        pieces.iter().enumerate().map(packet).collect()
    }

    #[test]
    fn fragments_say_which_part_of_the_payload_they_carry() {
        for v6 in [false, true] {
            let mut carried = Vec::new();
            let mut words = Vec::new();
            for packet in fragments(v6) {
                let (ends, head, payload) = parse(&packet, Way::Data);
                let Head::Udp {
                    id: 77,
                    fragment: Some(fragment),
                    len,
                } = head
                else {
                    panic!("{head:?}");
                };
                assert_eq!(fragment.from, carried.len() as u64);
                assert_eq!(len, payload.len() as u64);
                let ports = ends.map(|(one, two)| (one.1, two.1));
                assert_eq!(ports, (fragment.from == 0).then_some((1, 2)));
                carried.extend_from_slice(payload);
                words.push(fragment.words());
            }
            let sent: Vec<u8> = (0..PAYLOAD).map(|at| at as u8).collect();
            assert_eq!(carried, sent);
            let wanted = [
                "the first fragment of a datagram of 3000 bytes",
                "a fragment of a datagram",
                "the last fragment of a datagram",
            ];
            assert_eq!(words, wanted);
        }
    }

    #[test]
    fn what_is_cut_off_is_no_fragment_and_no_panic() {
        for v6 in [false, true] {
            for packet in fragments(v6) {
                for len in 0..packet.len().min(60) {
                    parse(&packet[..len], Way::Data);
                }
            }
            let first = &fragments(v6)[0];
            let short = &first[..first.len() - PIECE + UDP_BYTES - 1];
            let (ends, head, _) = parse(short, Way::Data);
            assert!(matches!(head, Head::Other { .. }), "{head:?}");
            assert_eq!(ends, None);
        }
    }
}
