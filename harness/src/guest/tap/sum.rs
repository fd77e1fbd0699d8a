//! Checksums that the stack leaves to the hardware, which here there is none of.

/// Puts the checksum of TCP or UDP into a packet that begins with its IP header; does
/// nothing to what is neither, or only a fragment.
pub fn complete(packet: &mut [u8]) {
    let Some(part) = Part::of(packet) else {
        return;
    };
    let at = part.begin + part.field;
    packet[at..at + 2].fill(0);
    let sum = match (!part.sum(packet), part.protocol) {
        // It would say that there is none.
        (0, UDP) => 0xffff,
        (sum, _) => sum,
    };
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Whether the checksum of TCP or UDP is right; `None`: there is none.
pub fn is_right(packet: &[u8]) -> Option<bool> {
    let part = Part::of(packet)?;
    let field = packet.get(part.begin + part.field..part.begin + part.field + 2)?;
    if part.protocol == UDP && field == [0, 0] {
        return None;
    }
    Some(part.sum(packet) == 0xffff)
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// What the checksum is about.
struct Part {
    protocol: u8,
    /// Where the header of TCP or UDP begins.
    begin: usize,
    /// Where in it the checksum stands.
    field: usize,
    /// Both addresses in the header of IP.
    addresses: std::ops::Range<usize>,
}

impl Part {
    fn of(packet: &[u8]) -> Option<Part> {
        let first = *packet.first()?;
        let (protocol, begin, addresses) = match first >> 4 {
            4 => {
                let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
                if fragment != 0 {
                    return None;
                }
                (*packet.get(9)?, usize::from(first & 0xf) * 4, 12..20)
            }
            6 => (*packet.get(6)?, 40, 8..40),
            _ => return None,
        };
        let (field, least) = match protocol {
            TCP => (16, 20),
            UDP => (6, 8),
            _ => return None,
        };
        let whole = packet.len() >= begin + least && begin >= addresses.end;
        whole.then_some(Part {
            protocol,
            begin,
            field,
            addresses,
        })
    }

    /// RFC 1071, over the pseudo header as well.
    fn sum(&self, packet: &[u8]) -> u16 {
        let data = &packet[self.begin..];
        let mut sum = u64::from(self.protocol) + data.len() as u64;
        for bytes in [&packet[self.addresses.clone()], data] {
            for word in bytes.chunks(2) {
                sum += u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
            }
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn packets() -> Vec<Vec<u8>> {
        let v4 = || PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
        let v6 = || PacketBuilder::ipv6([1; 16], [2; 16], 64);
        let mut packets = Vec::new();
        for len in [0, 1, 100, 1449] {
            let payload = vec![0xa5; len];
            let mut add = |packet: Vec<u8>| packets.push(packet);
            let mut bytes = Vec::new();
            v4().tcp(1, 2, 3, 4).write(&mut bytes, &payload).unwrap();
            add(std::mem::take(&mut bytes));
            v6().tcp(1, 2, 3, 4).write(&mut bytes, &payload).unwrap();
            add(std::mem::take(&mut bytes));
            v4().udp(1, 2).write(&mut bytes, &payload).unwrap();
            add(std::mem::take(&mut bytes));
            v6().udp(1, 2).write(&mut bytes, &payload).unwrap();
            add(bytes);
        }
        packets
    }

    #[test]
    fn they_are_what_others_compute() {
        for packet in packets() {
            let part = Part::of(&packet).unwrap();
            let at = part.begin + part.field;
            assert_eq!(is_right(&packet), Some(true));
            let mut changed = packet.clone();
            changed[at] ^= 0x10;
            assert_eq!(is_right(&changed), Some(false));
            complete(&mut changed);
            assert_eq!(changed, packet);
        }
    }

    #[test]
    fn what_has_none_stays() {
        let mut packet = packets()[0].clone();
        packet[6] = 0x20;
        for odd in [vec![], vec![0x45; 9], vec![0x60; 41], vec![0; 60], packet] {
            let mut same = odd.clone();
            complete(&mut same);
            assert_eq!((same, is_right(&odd)), (odd, None));
        }
    }
}
