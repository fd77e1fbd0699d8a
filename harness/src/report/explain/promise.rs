//! What was promised, and by whom.

use crate::oracle::Property;
use crate::scenario::Family;

/// A sentence that a kernel is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The sentence, as it stands there; `None`: none says it, `why` does.
    pub quote: Option<&'static str>,
    /// Where it stands.
    pub source: &'static str,
    /// What follows from it, or why it holds all the same.
    pub why: &'static str,
}

/// The promise behind a property, for a socket of that family.
pub fn of(property: Property, family: Family) -> Promise {
    match property {
        Property::Wire | Property::Datagrams if family == Family::UnixSeqpacket => Promise {
            quote: Some(
                "Provides a sequenced, reliable, two-way connection-based data transmission path \
                 for datagrams of fixed maximum length; a consumer is required to read an entire \
                 packet with each input system call.",
            ),
            source: "socket(2), SOCK_SEQPACKET",
            why: "So what is received is one of the packets that were sent, whole.",
        },
        Property::Wire | Property::Datagrams if family.has_datagrams() => Promise {
            quote: Some("All receive operations return only one packet."),
            source: "udp(7)",
            why: "So what is received is one of the datagrams that were sent, whole; the link may \
                  lose, repeat or shuffle them if the scenario says so.",
        },
        Property::Wire | Property::Datagrams => Promise {
            quote: Some("Provides sequenced, reliable, two-way, connection-based byte streams."),
            source: "socket(2), SOCK_STREAM",
            why: "So the stream is what the calls reported sent, in that order: no gap, no \
                  repetition, no byte that the file never had.",
        },
        Property::Source => Promise {
            quote: Some(
                "in_fd should be a file descriptor opened for reading and out_fd should be a \
                 descriptor opened for writing.",
            ),
            source: "sendfile(2)",
            why: "So a send reads the file and changes nothing of it.",
        },
        Property::Counts => Promise {
            quote: Some(
                "If the transfer was successful, the number of bytes written to out_fd is returned.",
            ),
            source: "sendfile(2), RETURN VALUE",
            why: "So return values, offsets and the bytes that arrive agree.",
        },
        Property::Liveness => Promise {
            quote: Some(
                "TCP guarantees that the data arrives in order and retransmits lost packets.",
            ),
            source: "tcp(7)",
            why: "So every call and every stream ends, within a bound that follows from the link, \
                  as long as the receiver reads.",
        },
        Property::StableOnReturn => Promise {
            quote: Some(
                "If out_fd refers to a socket or pipe with zero-copy support, callers must ensure \
                 the transferred portions of the file referred to by in_fd remain unmodified until \
                 the reader on the other end of out_fd has consumed the transferred data.",
            ),
            source: "sendfile(2), NOTES",
            why: "That is asked of callers, who have no way to know when. The contract `stable`, \
                  which a patched kernel keeps, takes it from them: what is written after the \
                  return of a send never shows.",
        },
        Property::Completion => Promise {
            quote: Some("The kernel returns a notification when it is safe to modify data."),
            source: "Documentation/networking/msg_zerocopy.rst",
            why: "So there is one notification for each send by reference, and what is written \
                  after it never shows.",
        },
        Property::Splat => Promise {
            quote: None,
            source: "the kernel itself",
            why: "Whatever it reports as a bug (WARN, BUG, Oops, panic, KASAN, lockdep) is one.",
        },
        Property::Leaks => Promise {
            quote: Some("the resources associated with the open file description are freed"),
            source: "close(2)",
            why: "So sockets, files, pages and pins are gone when everything is closed.",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_has_one_for_every_family() {
        for property in Property::ALL {
            for (_, family) in Family::NAMED {
                let promise = of(property, family);
                assert!(!promise.why.is_empty() && !promise.source.is_empty());
                let kernels_own = property == Property::Splat;
                assert_eq!(promise.quote.is_none(), kernels_own, "{property}");
            }
        }
        assert_eq!(of(Property::Datagrams, Family::Udp4).source, "udp(7)");
        let packets = of(Property::Wire, Family::UnixSeqpacket);
        assert_eq!(packets.source, "socket(2), SOCK_SEQPACKET");
    }
}
