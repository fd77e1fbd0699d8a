//! Boots a PC in QEMU: several CPUs, preemption, drivers. Slower than User Mode Linux by
//! far where QEMU translates the instructions, and by the wall clock; but two CPUs really
//! run side by side.
//!
//! The kernel is an ELF file that is entered where a hypervisor does (CONFIG_PVH), so
//! nothing is unpacked. Its root is the host's, read-only, over 9P.
//!
//! A stream of the guest is a console of virtio: the kernel waits until the host has taken
//! what it writes (drivers/char/virtio_console.c:put_chars). QEMU would throw away what a
//! full pipe does not take; so its end of the console is nothing, and the pipe is that
//! nothing's log, which QEMU writes to until all is written (chardev/char.c:
//! qemu_chr_write_log). The guest stands still meanwhile, as every guest does.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::launch::Ends;
use super::monitor::{self, Guest};
use super::{Boot, Card, Error, cpu, kvm, launch};
use crate::guest::job::{Ways, out_tag};
use crate::kernel::machine::{Accelerator, Pc};
use crate::process;

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";
/// COMMAND_LINE_SIZE of arch/x86/include/asm/setup.h, with room for what is added.
const COMMAND_LINE_MAX: usize = 2048 - 128;
/// One instruction takes 2^N nanoseconds of the guest's time. With fewer it takes the
/// kernel, which waits in loops as it boots, ten times as long to do so.
const ICOUNT_SHIFT: u32 = 3;
/// What 9P hands over at once.
const MESSAGE_BYTES: u32 = 256 << 10;
/// A PC needs that for itself, beyond what User Mode Linux does: page tables, and the
/// firmware's part.
const OWN_MIB: u32 = 64;

/// As [`super::spawn`] says.
pub(super) fn spawn(boot: Boot, pc: Pc) -> Result<Guest, Error> {
    let cache = launch::cache(&boot)?;
    let accelerator = match pc.accelerator {
        Accelerator::Auto => match kvm::probe(&boot.image, &cache) {
            Ok(()) => Accelerator::Kvm,
            Err(_) => Accelerator::Tcg,
        },
        it => it,
    };
    // One thread does all the work then.
    let slot = match accelerator {
        Accelerator::Icount => Some(cpu::pick().map_err(Error::host("take a CPU"))?),
        _ => None,
    };
    let run = launch::run_dir(&boot, &cache, Ways::pc())?;
    let (streams, ends) = launch::pipes()?;
    let words = launch::command_line(kernel_words(), &boot, run.path(), COMMAND_LINE_MAX)?;

    let mut command = Command::new(PROGRAM);
    command
        .args(machine(accelerator, pc.cpus, boot.memory_mib + OWN_MIB))
        .arg("-kernel")
        .arg(&boot.image)
        .arg("-append")
        .arg(words.join(OsStr::new(" ")))
        .args(files(&boot)?)
        .args(consoles(&ends))
        .args(boot.card.iter().flat_map(card))
        .current_dir(run.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", run.path())
        .env("TMPDIR", run.path())
        .stdin(Stdio::null())
        .stdout(launch::to_stdio(&ends.log)?)
        .stderr(launch::to_stdio(&ends.log)?);
    let mut inherited: Vec<RawFd> = [&ends.log, &ends.stdout, &ends.stderr, &ends.control]
        .map(AsRawFd::as_raw_fd)
        .into();
    inherited.extend(boot.card.iter().map(|it| it.port.as_raw_fd()));
    let cpu = slot.as_ref().map(cpu::Slot::cpu);
    // SAFETY: between fork and exec; system calls only, on memory copied in.
    unsafe {
        command.pre_exec(move || {
            if let Some(cpu) = cpu {
                cpu::stay_on(cpu);
            }
            launch::free(&inherited)
        });
    }
    let kernel =
        process::spawn_removing(&mut command, run.path()).map_err(|source| Error::Image {
            path: PROGRAM.into(),
            source,
        })?;
    // QEMU now holds the only write ends, so its end is an end of file.
    drop((command, ends));
    monitor::start(&boot, kernel, streams, (slot, run))
}

fn kernel_words() -> Vec<OsString> {
    [
        "console=ttyS0".into(),
        // What reports a bug is louder than that.
        "quiet".into(),
        "root=/dev/root".into(),
        "rootfstype=9p".into(),
        format!("rootflags=trans=virtio,version=9p2000.L,msize={MESSAGE_BYTES},cache=loose"),
        "ro".into(),
        // Whoever panics is done, and resets the machine in the way that needs nothing.
        "panic=-1".into(),
        "reboot=t".into(),
    ]
    .map(OsString::from)
    .into()
}

/// The machine without devices.
pub(super) fn machine(accelerator: Accelerator, cpus: u8, memory_mib: u32) -> Vec<OsString> {
    let mut words = vec![
        "-nodefaults".to_owned(),
        "-no-user-config".into(),
        "-no-reboot".into(),
        "-display".into(),
        "none".into(),
        "-M".into(),
        "q35".into(),
        "-m".into(),
        memory_mib.to_string(),
        "-smp".into(),
        cpus.to_string(),
    ];
    let more: &[&str] = match accelerator {
        Accelerator::Kvm => &["-accel", "kvm", "-cpu", "host"],
        Accelerator::Auto | Accelerator::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "max"],
        Accelerator::Icount => &["-cpu", "max", "-rtc", "clock=vm"],
    };
    words.extend(more.iter().map(|it| (*it).to_owned()));
    if accelerator == Accelerator::Icount {
        words.push("-icount".into());
        words.push(format!("shift={ICOUNT_SHIFT},sleep=off"));
    }
    words.into_iter().map(OsString::from).collect()
}

/// The host's files, read-only, and the output directories.
fn files(boot: &Boot) -> Result<Vec<OsString>, Error> {
    let mut words = share("root", Path::new("/"), "/dev/root", true)?;
    for (number, out) in boot.out_dirs.iter().enumerate() {
        let tag = out_tag(number);
        words.extend(share(&tag, out, &tag, false)?);
    }
    Ok(words)
}

fn share(id: &str, path: &Path, tag: &str, readonly: bool) -> Result<Vec<OsString>, Error> {
    let mut file_system = OsString::from(format!("local,id={id},path="));
    file_system.push(escaped(path.as_os_str()));
    file_system.push(",security_model=none,multidevs=remap");
    if readonly {
        file_system.push(",readonly=on");
    }
    let device = format!("virtio-9p-pci,fsdev={id},mount_tag={tag}");
    Ok(vec![
        "-fsdev".into(),
        file_system,
        "-device".into(),
        device.into(),
    ])
}

/// In a list of options a comma is written twice.
fn escaped(text: &OsStr) -> OsString {
    let bytes = text.as_bytes().iter().flat_map(|byte| match byte {
        b',' => vec![b','; 2],
        byte => vec![*byte],
    });
    std::os::unix::ffi::OsStringExt::from_vec(bytes.collect())
}

fn consoles(ends: &Ends) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let ends = [
        ("log", &ends.log),
        ("stdout", &ends.stdout),
        ("stderr", &ends.stderr),
        ("control", &ends.control),
    ];
    words.extend(["-device".into(), "virtio-serial-pci".into()]);
    for (set, (name, end)) in ends.iter().enumerate() {
        let fd = end.as_raw_fd();
        words.push("-add-fd".into());
        words.push(format!("fd={fd},set={set}").into());
        words.push("-chardev".into());
        // Not truncated: a pipe cannot be.
        words.push(format!("null,id={name},logfile=/dev/fdset/{set},logappend=on").into());
        let device: [OsString; 2] = match *name {
            // The one that works from the first message on.
            "log" => ["-serial".into(), format!("chardev:{name}").into()],
            _ => [
                "-device".into(),
                format!("virtconsole,chardev={name}").into(),
            ],
        };
        words.extend(device);
    }
    words
}

fn card(card: &Card) -> Vec<OsString> {
    let mac: Vec<String> = card.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let port = card.port.as_raw_fd();
    let mut device = format!("virtio-net-pci,netdev=net,mac={}", mac.join(":"));
    if card.ring_delay_us > 0 {
        let delay_ns = u64::from(card.ring_delay_us) * 1000;
        device += &format!(",tx=timer,x-txtimer={delay_ns}");
    }
    vec![
        "-netdev".into(),
        format!("tap,id=net,fd={port},vhost=off").into(),
        "-device".into(),
        device.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_is_no_option() {
        let words = share("out0", Path::new("/a,b/c"), "out0", false).unwrap();
        let text = words[1].to_str().unwrap();
        assert!(text.contains("path=/a,,b/c,security_model=none"), "{text}");
        assert!(!text.contains("readonly"));
        let root = share("root", Path::new("/"), "/dev/root", true).unwrap();
        assert!(root[1].to_str().unwrap().ends_with(",readonly=on"));
    }

    #[test]
    fn each_accelerator_is_asked_for_in_its_way() {
        let words = |it| machine(it, 2, 64).join(OsStr::new(" "));
        let text = |it| words(it).into_string().unwrap();
        assert!(text(Accelerator::Kvm).contains("-accel kvm"));
        assert!(text(Accelerator::Tcg).contains("thread=multi"));
        let icount = text(Accelerator::Icount);
        assert!(icount.contains("-icount shift=3,sleep=off") && !icount.contains("-accel"));
    }
}
