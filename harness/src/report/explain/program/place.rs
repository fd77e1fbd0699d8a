//! Where a program runs: network namespaces, interfaces, queues; and the file.

use std::fmt::Write;

use super::hold;
use crate::scenario::text::units::{Percent, Rate, Time};
use crate::scenario::{
    Device, DeviceKind, Distribution, FileKind, Netem, Op, Scenario, Sysctl, Way,
};

/// netem's queue where nothing is said, in packets.
const DEFAULT_LIMIT_PACKETS: u32 = 1000;

/// The size of the image of a file system, which ext4 is content with.
const IMAGE: &str = "32M";

/// Whether the two ends have namespaces of their own.
pub fn has_two_ends(scenario: &Scenario) -> bool {
    scenario.setup.socket.family.passes_link() && scenario.setup.device.kind == DeviceKind::Veth
}

/// The addresses of the sender and the receiver, as C strings have them.
pub fn addresses(scenario: &Scenario) -> [&'static str; 2] {
    let over_ipv6 = scenario.setup.socket.family.over_ipv6();
    match (scenario.setup.device.kind, over_ipv6) {
        (DeviceKind::Loopback, false) => ["127.0.0.1"; 2],
        (DeviceKind::Loopback, true) => ["::1"; 2],
        (_, false) => ["192.0.2.1", "192.0.2.2"],
        (_, true) => ["2001:db8::1", "2001:db8::2"],
    }
}

/// The function that makes the link; empty where there is none.
pub fn link(scenario: &Scenario) -> String {
    let setup = &scenario.setup;
    if !setup.socket.family.passes_link() {
        return String::new();
    }
    let mut text = String::new();
    if setup.device.kind == DeviceKind::Loopback {
        text += "/* A network namespace of its own, which ends with the program. */\n";
        text += "static void make_link(void)\n{\n";
        text += "\tmust(unshare(CLONE_NEWNET), \"no network namespace, which takes root\");\n";
        let mtu = setup.device.mtu_bytes;
        let mtu = mtu.map_or(String::new(), |bytes| format!(" mtu {bytes}"));
        text += &command(&format!("ip link set lo up{mtu}"));
        text += &stack(scenario);
        return text + "}\n";
    }
    text += "/*\n * Two network namespaces, joined by veth: the receiver's and the sender's. They end\n";
    text += " * with the program.\n */\n";
    text += "static void make_link(void)\n{\n\tchar command[120];\n\n";
    for (end, at) in [("far", "receiver"), ("near", "sender")] {
        let _ = writeln!(
            text,
            "\tmust(unshare(CLONE_NEWNET), \"no network namespace, which takes root\");\n\
             \t{end} = must(open(\"/proc/thread-self/ns/net\", O_RDONLY), \"the {at}'s namespace\");"
        );
    }
    let mtu = setup.device.mtu_bytes;
    let mtu = mtu.map_or(String::new(), |bytes| format!(" mtu {bytes}"));
    text += "\tsnprintf(command, sizeof(command),\n";
    let _ = writeln!(
        text,
        "\t\t \"ip link add near up{mtu} type veth peer name far{mtu} netns /proc/%d/fd/%d\",\n\
         \t\t getpid(), far);"
    );
    text += "\trun(command);\n";
    text += &end(scenario, "near", Way::Data);
    text += "\n\tmust(setns(far, CLONE_NEWNET), \"setns\");\n";
    text += &end(scenario, "far", Way::Ack);
    text += &await_up("far");
    text += "\tmust(setns(near, CLONE_NEWNET), \"setns\");\n";
    text += &await_up("near");
    text + "}\n"
}

/// The commands that make one end of veth.
fn end(scenario: &Scenario, name: &str, way: Way) -> String {
    let mut text = String::new();
    let (side, netem) = match way {
        Way::Data => (0, &scenario.setup.data),
        Way::Ack => (1, &scenario.setup.ack),
    };
    let device = &scenario.setup.device;
    let address = addresses(scenario)[side];
    // IPv6 would first ask whether anybody has the address already.
    let (bits, nodad) = match scenario.setup.socket.family.over_ipv6() {
        true => ("/64", " nodad"),
        false => ("/24", ""),
    };
    text += &offloads(device, name);
    text += &command(&format!("ip address add {address}{bits} dev {name}{nodad}"));
    if name == "far" {
        text += &command("ip link set far up");
    }
    text += &stack(scenario);
    let options = netem_options(netem);
    if scenario.holds(way) {
        text += &command(&format!(
            "tc qdisc add dev {name} root handle 1: netem{options}"
        ));
        text += &hold::queues(scenario, way);
    } else if *netem != Netem::default() {
        text += &command(&format!("tc qdisc add dev {name} root netem{options}"));
    }
    text
}

/// An interface that has just come up loses what it gets.
fn await_up(name: &str) -> String {
    command(&format!(
        "until ip link show {name} | grep -q 'state UP'; do sleep 0.01; done"
    ))
}

fn command(command: &str) -> String {
    format!("\trun(\"{command}\");\n")
}

fn offloads(device: &Device, name: &str) -> String {
    let set = |option: &str, on: u8| format!("\toffload(\"{name}\", {option}, {on});\n");
    let mut text = String::new();
    for (wanted, option) in [
        (device.no_checksum, "ETHTOOL_STXCSUM"),
        (device.no_sg, "ETHTOOL_SSG"),
        (device.no_tso, "ETHTOOL_STSO"),
        (device.no_gso, "ETHTOOL_SGSO"),
    ] {
        if wanted {
            text += &set(option, 0);
        }
    }
    if device.gro {
        text += &set("ETHTOOL_SGRO", 1);
    }
    text
}

/// The settings of TCP, which every namespace has for itself.
fn stack(scenario: &Scenario) -> String {
    let mut text = String::new();
    for (sysctl, value) in scenario.setup.stack.changes() {
        let name = sysctl.name().replace('-', "_");
        let suffix = if sysctl == Sysctl::LimitOutput {
            "_bytes"
        } else {
            ""
        };
        let value = match sysctl {
            Sysctl::Wmem | Sysctl::Rmem => format!("4096 {value} {value}"),
            _ => value.to_string(),
        };
        text += &command(&format!(
            "echo {value} > /proc/sys/net/ipv4/tcp_{name}{suffix}"
        ));
    }
    text
}

/// What follows `netem` on the command line of tc(8).
fn netem_options(netem: &Netem) -> String {
    let mut text = String::new();
    let correlation = match netem.correlation_ppm {
        0 => String::new(),
        ppm => format!(" {}", Percent(ppm)),
    };
    let limit = netem.limit_packets;
    if limit != 0 && limit != DEFAULT_LIMIT_PACKETS {
        let _ = write!(text, " limit {limit}");
    }
    if netem.delay_us != 0 {
        let _ = write!(text, " delay {}", Time(netem.delay_us));
    }
    if netem.jitter_us != 0 {
        let _ = write!(text, " {}{correlation}", Time(netem.jitter_us));
        if netem.distribution != Distribution::Uniform {
            let _ = write!(text, " distribution {}", netem.distribution);
        }
    }
    if netem.reorder_ppm != 0 {
        let _ = write!(text, " reorder {}{correlation}", Percent(netem.reorder_ppm));
        if netem.gap_packets != 0 {
            let _ = write!(text, " gap {}", netem.gap_packets);
        }
    }
    match (netem.loss_ppm, netem.recover_ppm) {
        (0, _) => {}
        (loss, 0) => {
            let _ = write!(text, " loss {}{correlation}", Percent(loss));
        }
        (loss, recover) => {
            let _ = write!(text, " loss gemodel {} {}", Percent(loss), Percent(recover));
        }
    }
    if netem.mark {
        text += " ecn";
    }
    for (name, ppm) in [
        ("duplicate", netem.duplicate_ppm),
        ("corrupt", netem.corrupt_ppm),
    ] {
        if ppm != 0 {
            let _ = write!(text, " {name} {}{correlation}", Percent(ppm));
        }
    }
    if netem.rate_bps != 0 {
        let _ = write!(text, " rate {}", Rate(netem.rate_bps));
        if netem.overhead_bytes != 0 {
            let _ = write!(text, " {}", netem.overhead_bytes);
        }
    }
    if netem.slot_us != 0 {
        let _ = write!(text, " slot {}", Time(netem.slot_us));
    }
    text
}

/// The function that makes the file, and its mappings.
pub fn file(scenario: &Scenario) -> String {
    let spec = &scenario.setup.file;
    let has = |what: fn(Op) -> bool| scenario.steps.iter().any(|it| what(it.op));
    let mut text = String::from("static void make_file(void)\n{\n");
    let open = match spec.kind {
        FileKind::Memfd => "memfd_create(\"inflight\", 0), \"memfd_create\"",
        FileKind::Tmpfs => "open(\"/dev/shm\", O_TMPFILE | O_RDWR, 0600), \"a file in /dev/shm\"",
        FileKind::Ext4 => "open(\"ext4\", O_TMPFILE | O_RDWR, 0600), \"a file on ext4\"",
    };
    if spec.kind == FileKind::Ext4 {
        text += "\t/* Only this program sees what it mounts, and it ends with it. */\n";
        text += "\tmust(unshare(CLONE_NEWNS), \"no mount namespace, which takes root\");\n";
        text += "\tmust(mount(\"none\", \"/\", NULL, MS_REC | MS_PRIVATE, NULL), \"mount\");\n";
        text += "\tmust(mount(\"none\", \"/mnt\", \"tmpfs\", 0, NULL), \"mount\");\n";
        text += "\tmust(chdir(\"/mnt\"), \"/mnt\");\n";
        text += &command(&format!(
            "truncate -s {IMAGE} image && mkfs.ext4 -q image && mkdir ext4"
        ));
        text += "\trun(\"device=$(losetup --find --show image) && mount $device ext4 && \"\n";
        text += "\t    \"losetup --detach $device\");\t/* when it is unmounted */\n";
    }
    let _ = writeln!(text, "\tfile = must({open});");
    let maps = has(Op::maps);
    let overwrites = has(|op| matches!(op, Op::Pwrite(_) | Op::DirectWrite(_)));
    let fill = match (spec.sparse, maps && !overwrites) {
        (true, _) => ("ftruncate(file, FILE_BYTES)", ""),
        (false, true) => (
            "ftruncate(file, FILE_BYTES)",
            "\tstore(mapping, 0, FILE_BYTES, 0);\n",
        ),
        (false, false) => ("", "\toverwrite(file, 0, FILE_BYTES, 0);\n"),
    };
    if !fill.0.is_empty() {
        let _ = writeln!(text, "\tmust({}, \"ftruncate\");", fill.0);
    }
    let extent = match scenario.extent_bytes() {
        bytes if bytes == spec.size_bytes => "FILE_BYTES".to_owned(),
        bytes => bytes.to_string(),
    };
    for (wanted, name) in [
        (maps, "mapping"),
        (has(|op| matches!(op, Op::SecondWrite(_))), "second"),
    ] {
        if wanted {
            let _ = writeln!(
                text,
                "\t{name} = mmap(NULL, {extent}, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);\n\
                 \tif ({name} == MAP_FAILED)\n\t\tmust(-1, \"mmap\");"
            );
        }
    }
    text += fill.1;
    if spec.read_only {
        text += "\tread_only = must(open_again(O_RDONLY), \"the file for reading\");\n";
    }
    if has(|op| matches!(op, Op::DirectWrite(_))) {
        text += "\tdirect = must(open_again(O_RDWR | O_DIRECT), \"the file with O_DIRECT\");\n";
    }
    if spec.kind == FileKind::Ext4 {
        // What is still to be written to the disk is not part of the scenario.
        text += "\tmust(syncfs(file), \"syncfs\");\n";
    }
    text + "}\n"
}

/// The descriptor that is sent from.
pub fn sent_file(scenario: &Scenario) -> &'static str {
    match scenario.setup.file.read_only {
        true => "read_only",
        false => "file",
    }
}
