//! Settings that only TCP has.

/// Settings of a connection that only TCP has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpSpec {
    /// TCP_NOTSENT_LOWAT of the sender: with so many bytes that were not sent yet it
    /// takes no more; 0: no limit.
    pub notsent_lowat_bytes: u32,
    /// TCP_CONGESTION of the sender; `None`: as the kernel has it.
    pub congestion: Option<Congestion>,
    /// TCP_QUICKACK of the receiver, set again after every read, since it does not last;
    /// `None`: as the kernel does it.
    pub quickack: Option<bool>,
}

/// A congestion control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// What the others are measured by.
    Reno,
    /// What the kernel has by default.
    Cubic,
    /// Paces what it sends.
    Bbr,
}

impl Congestion {
    /// All of them, with the names that the kernel and the text have for them.
    pub const NAMED: [(&'static str, Congestion); 3] = [
        ("reno", Congestion::Reno),
        ("cubic", Congestion::Cubic),
        ("bbr", Congestion::Bbr),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let named = Congestion::NAMED.iter().find(|(_, it)| *it == self);
        named.map_or("", |(name, _)| name)
    }
}

/// TCP_QUICKACK, with the words that the text has for it.
pub const QUICKACK_NAMED: [(&str, bool); 2] = [("on", true), ("off", false)];
