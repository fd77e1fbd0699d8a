//! Both programs in kernels under test, on loopback and in virtual time: there it is no
//! luck what they see. The sender goes on without the receiver having run, so a stock
//! kernel always shows the race, and a patched one never may.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{kernels, say};

/// Runs a script in a kernel, with `$SEND` and `$RECV` the two programs and `await_recv`
/// to wait until the receiver in the background listens.
fn script(kernel: &str, text: &str) -> Output {
    let prelude = r#"
        cd /tmp
        truncate -s 65536 zeros
        await_recv() { until grep -qs Listening recv.err; do sleep 0.01; done; }
    "#;
    Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["run", "--timeout", "120", "--kernel", kernel, "--"])
        .args(["sh", "-c", &format!("{prelude}\n{text}")])
        .env("SEND", env!("CARGO_BIN_EXE_send"))
        .env("RECV", env!("CARGO_BIN_EXE_recv"))
        // The guest sees its own folder wherever that is, also below a /tmp of the host.
        .current_dir(Path::new(env!("CARGO_BIN_EXE_send")).parent().unwrap())
        .output()
        .unwrap()
}

#[track_caller]
fn shows(kernel: &str, text: &str, expected: &str) {
    let output = script(kernel, text);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(stdout, expected, "{kernel}: {output:?}");
}

#[test]
fn a_stock_kernel_shows_the_race_and_a_patched_one_does_not() {
    if !kernels() {
        return;
    }
    let text = r#"
        for host in 127.0.0.1 ::1; do
            for udp in "" --udp; do
                for splice in "" --splice; do
                    $RECV -a $host -p 2008 -c 8192 $udp >recv.out 2>recv.err &
                    await_recv
                    # An interval, for the receiver to empty its queue of datagrams.
                    $SEND -a $host -p 2008 -f zeros -c 8192 -n 50 -i 1 $udp $splice >send.out 2>send.err
                    sent=$?
                    wait $!
                    echo "$host$udp$splice: send $sent, recv $?, $(cat recv.out)" \
                        "$(grep -o 'only zeros.*\|saw corruption' send.err)"
                    rm recv.err
                done
            done
        done
    "#;
    let expected = |status: u8, tcp: &str, udp: &str| {
        let mut lines = String::new();
        for host in ["127.0.0.1", "::1"] {
            for (transport, end) in [("", tcp), ("--udp", udp)] {
                for way in ["", "--splice"] {
                    lines +=
                        &format!("{host}{transport}{way}: send {status}, recv {status}, {end}\n");
                }
            }
        }
        lines
    };
    let torn = "Data was corrupted: ab. saw corruption";
    shows("6.12-stock", text, &expected(1, torn, torn));
    let whole = " only zeros, and all of them";
    let counted = " only zeros; none of 300 datagrams was lost";
    shows("6.12-patched", text, &expected(0, whole, counted));
}

#[test]
fn who_vanishes_without_a_goodbye_is_noticed() {
    if !kernels() {
        return;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        say("skipped: no iproute2 here\n");
        return;
    }
    // Half a minute, of which none is waited for. Nothing is on its way when the link
    // goes: the kernels have to ask by themselves.
    let text = r#"
        $RECV -a 127.0.0.1 -p 2008 -c 10 >recv.out 2>recv.err &
        recv=$!
        await_recv
        # An interval that the default time-out ends.
        $SEND -a 127.0.0.1 -p 2008 -f zeros -c 10 -i 1000000 >send.out 2>send.err &
        send=$!
        # One round, and a receiver that has read it: nobody changes the file before.
        sleep 5
        ip link set lo down
        before=$(date +%s)
        wait $send; echo "send $?"
        wait $recv; echo "recv $?"
        took=$(($(date +%s) - before))
        [ $took -ge 20 ] && [ $took -le 60 ] || echo "took $took s"
        grep -o 'lost .* after 10 bytes, 1 round of 10' send.err
        grep -c 'lost .* after' recv.err
    "#;
    let expected = "send 3\nrecv 3\nlost 127.0.0.1:2008 after 10 bytes, 1 round of 10\n1\n";
    shows("6.12-patched", text, expected);
}

#[test]
fn a_file_on_a_read_only_file_system() {
    if !kernels() {
        return;
    }
    // The host's files are that.
    let zeros = crate::programs::Zeros::new(10);
    let mut folder = std::env::current_exe().unwrap();
    folder.set_file_name("zeros-of-a-test");
    std::fs::copy(&zeros.path, &folder).unwrap();
    let text = format!(
        "$SEND -a 127.0.0.1 -p 2008 -f {} -c 10; echo $?",
        folder.display()
    );
    let output = script("6.12-patched", &text);
    std::fs::remove_file(&folder).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"2\n", "{output:?}");
    assert!(
        stderr.contains("--file ") && stderr.contains("ead-only file system"),
        "{stderr}"
    );
}
