//! The interfaces at both ends of the link.

/// The interfaces at both ends of the link; by default as the kernel makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Device {
    /// What they are.
    pub kind: DeviceKind,
    /// The largest packet, in bytes from the IP header on; `None`: as the kernel has it.
    pub mtu_bytes: Option<u32>,
    /// Generic receive offload, which veth has to be told.
    pub gro: bool,
    /// No TCP segmentation offload.
    pub no_tso: bool,
    /// No generic segmentation offload.
    pub no_gso: bool,
    /// No scatter and gather: a packet is in one piece when it leaves.
    pub no_sg: bool,
    /// No checksum offload: it is computed when a packet leaves.
    pub no_checksum: bool,
}

/// What joins the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceKind {
    /// A veth(4) pair: what is sent is handed to the other end as it is.
    #[default]
    Veth,
    /// Two TUN interfaces, and a program between that reads and writes: what is sent
    /// leaves the kernel, as it does at a network card.
    Tun,
    /// The loopback interface of the sender, with the receiver in the same namespace.
    Loopback,
}

impl DeviceKind {
    /// All of them with the words that the text has for them.
    pub const NAMED: [(&str, DeviceKind); 3] = [
        ("veth", DeviceKind::Veth),
        ("tun", DeviceKind::Tun),
        ("loopback", DeviceKind::Loopback),
    ];
}

/// What happens to single packets of one direction on a TUN link, by their numbers: the
/// first of a scenario is 1. 0: to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Nth {
    /// It is not carried.
    pub drop: u32,
    /// It is carried twice.
    pub twice: u32,
    /// The next one overtakes it.
    pub swap: u32,
    /// The last bit of it is flipped.
    pub flip: u32,
}

impl Nth {
    /// Each with the word that the text has for it.
    pub fn named(&mut self) -> [(&'static str, &mut u32); 4] {
        [
            ("drop", &mut self.drop),
            ("twice", &mut self.twice),
            ("swap", &mut self.swap),
            ("flip", &mut self.flip),
        ]
    }

    /// Whether a packet can get lost: what is to be overtaken may be the last one, and
    /// what has a flipped bit is thrown away.
    pub fn loses(&self) -> bool {
        self.drop > 0 || self.swap > 0 || self.flip > 0
    }
}

impl Device {
    /// The largest packet where nothing is said: Ethernet's.
    pub const USUAL_MTU_BYTES: u32 = 1500;

    /// The largest packet of the loopback interface (drivers/net/loopback.c).
    pub const LOOPBACK_MTU_BYTES: u32 = 65_536;

    /// The largest packet.
    pub fn mtu_bytes(&self) -> u32 {
        self.mtu_bytes.unwrap_or(match self.kind {
            DeviceKind::Veth | DeviceKind::Tun => Device::USUAL_MTU_BYTES,
            DeviceKind::Loopback => Device::LOOPBACK_MTU_BYTES,
        })
    }

    /// The words of the text for its switches, and which are set.
    pub fn switches(&self) -> [(&'static str, bool); 5] {
        [
            ("gro", self.gro),
            ("no-tso", self.no_tso),
            ("no-gso", self.no_gso),
            ("no-sg", self.no_sg),
            ("no-checksum", self.no_checksum),
        ]
    }
}
