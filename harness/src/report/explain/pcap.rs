//! Packets as a file for Wireshark and tshark: pcap, with nanoseconds.
//! (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html>)

use crate::capture::{Capture, Packet, Point};

/// Times are nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// Nothing is cut off.
const LONGEST_BYTES: u32 = 262_144;
/// LINKTYPE_RAW: packets begin with their IP header.
const RAW: u32 = 101;
/// The scenario begins at 1970-01-02 00:00:00; its connection is made before that, and a
/// time has no sign here.
const BEGIN_S: i64 = 24 * 60 * 60;
const NS_PER_S: i64 = 1_000_000_000;

/// An end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// That of the sender.
    Sender,
    /// That of the receiver.
    Receiver,
}

impl At {
    /// Both, with their names.
    pub const NAMED: [(&'static str, At); 2] = [("sender", At::Sender), ("receiver", At::Receiver)];

    /// Whether a packet is seen on the wire there.
    fn sees(self, packet: &Packet) -> bool {
        match self {
            At::Sender => matches!(packet.point, Point::SenderLeft | Point::SenderArrived),
            At::Receiver => matches!(packet.point, Point::ReceiverLeft | Point::ReceiverArrived),
        }
    }
}

/// The packets that one end of the link has seen.
pub fn file(capture: &Capture, at: At) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(MAGIC.to_le_bytes());
    file.extend(VERSION.map(u16::to_le_bytes).concat());
    // Two fields that are always 0.
    file.extend([0; 8]);
    file.extend(LONGEST_BYTES.to_le_bytes());
    file.extend(RAW.to_le_bytes());
    for packet in capture.packets.iter().filter(|it| at.sees(it)) {
        let ns = BEGIN_S
            .saturating_mul(NS_PER_S)
            .saturating_add(packet.at_ns);
        let len = packet.bytes.len() as u32;
        let seconds = u32::try_from(ns.div_euclid(NS_PER_S)).unwrap_or(0);
        for field in [seconds, ns.rem_euclid(NS_PER_S) as u32, len, len] {
            file.extend(field.to_le_bytes());
        }
        file.extend(&packet.bytes);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_packets_with_their_times() {
        let packet = |at_ns, point, byte: u8| Packet {
            at_ns,
            point,
            bytes: vec![byte; 3],
        };
        let capture = Capture {
            packets: vec![
                packet(-1, Point::SenderLeft, 1),
                packet(0, Point::ReceiverArrived, 1),
                packet(1_500_000_007, Point::SenderQueued, 2),
                packet(1_500_000_007, Point::SenderArrived, 3),
            ],
            lost: 0,
        };
        let sender = file(&capture, At::Sender);
        let record = |seconds: u32, ns: u32, byte: u8| {
            let mut record: Vec<u8> = [seconds, ns, 3, 3].map(u32::to_le_bytes).concat();
            record.extend([byte; 3]);
            record
        };
        let (header, records) = sender.split_at(24);
        assert_eq!(header[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(header[20..], [101, 0, 0, 0]);
        let wanted = [
            record(86_399, 999_999_999, 1),
            record(86_401, 500_000_007, 3),
        ];
        assert_eq!(records, wanted.concat());
        let receiver = file(&capture, At::Receiver);
        assert_eq!(receiver[24..], record(86_400, 0, 1));
    }
}
