//! Which functions are those of sending: from the file or the caller's memory to the link,
//! and back to who waits until the data has arrived.
//!
//! What is instrumented is more than that: whole folders, with their routing tables, device
//! settings and statistics. That nobody sends by these is no news.

/// Files of the way; a `*` stands for the rest of a name.
const FILES: [&str; 32] = [
    "fs/pipe.c",
    "fs/splice.c",
    "io_uring/net.c",
    "io_uring/notif.c",
    "lib/iov_iter.c",
    "mm/filemap.c",
    "mm/shmem.c",
    "net/core/datagram.c",
    "net/core/gro.c",
    "net/core/gso.c",
    "net/core/skbuff.c",
    "net/core/skmsg.c",
    "net/core/sock.c",
    "net/core/stream.c",
    "net/ipv4/inet_fragment.c",
    "net/ipv4/ip_fragment.c",
    "net/ipv4/ip_input.c",
    "net/ipv4/ip_output.c",
    "net/ipv4/tcp*",
    "net/ipv4/udp.c",
    "net/ipv4/udp_offload.c",
    "net/ipv6/ip6_input.c",
    "net/ipv6/ip6_offload.c",
    "net/ipv6/ip6_output.c",
    "net/ipv6/reassembly.c",
    "net/ipv6/tcp*",
    "net/ipv6/udp.c",
    "net/ipv6/udp_offload.c",
    "net/mptcp/protocol.c",
    "net/tls/*",
    "net/unix/af_unix.c",
    "net/vmw_vsock/*",
];

/// Of a file with all that devices need: only the functions that handle packets are of it.
const DEVICES: &str = "net/core/dev.c";
const PACKETS: [&str; 6] = [
    "xmit",
    "receive_skb",
    "netif_rx",
    "backlog",
    "net_tx",
    "net_rx",
];

/// Parts of the names of what sets up, lists and removes.
const ADMINISTRATION: [&str; 17] = [
    "_init", "init_", "_exit", "exit_", "_proc_", "proc_", "_seq_", "seq_", "sysctl", "register",
    "diag", "bpf_iter", "get_info", "_proc.", "metrics", "_ao_", "md5",
];

/// Whether a function, by the file that it stands in and its name, is of the way.
pub fn is_on(file: &str, function: &str) -> bool {
    let packets = || PACKETS.iter().any(|it| function.contains(it));
    let handles = has_way(file) || (file == DEVICES && packets());
    handles && !ADMINISTRATION.iter().any(|it| function.contains(it))
}

/// Whether a file is of the way as a whole, apart from what sets it up.
pub fn has_way(file: &str) -> bool {
    let named = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => file.starts_with(start) && file.ends_with(".c"),
        None => file == pattern,
    };
    let administers = ADMINISTRATION.iter().any(|it| file.contains(it));
    FILES.iter().any(|it| named(it)) && !administers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_that_of_data() {
        for (file, function, expected) in [
            ("net/ipv4/tcp.c", "tcp_sendmsg_locked", true),
            ("net/ipv4/tcp_output.c", "tcp_write_xmit", true),
            ("net/ipv4/tcp.c", "tcp_init_sock", false),
            ("net/ipv4/tcp_ipv4.c", "tcp4_seq_show", false),
            ("net/tls/tls_sw.c", "tls_sw_sendmsg", true),
            ("net/core/dev.c", "__dev_queue_xmit", true),
            ("net/core/dev.c", "dev_set_alias", false),
            ("net/ipv4/fib_trie.c", "fib_table_lookup", false),
            // It is in every file that includes it.
            ("include/linux/skbuff.h", "skb_frag_ref", false),
        ] {
            assert_eq!(is_on(file, function), expected, "{function}");
        }
    }
}
