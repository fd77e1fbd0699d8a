//! A tracefile of lcov: geninfo(1), FILES.

use std::fmt::Write as _;

use super::Report;
use crate::coverage::tally::File;

/// The tracefile. Counts are 1 or 0: how often a block ran is not known.
pub fn tracefile(report: &Report) -> String {
    let mut text = String::new();
    for file in &report.coverage.files {
        // What has no lines of its own is no file to lcov.
        if !file.lines.is_empty() {
            record(&mut text, &report.kernel, file);
        }
    }
    text
}

fn record(text: &mut String, kernel: &str, file: &File) {
    // Other characters are not allowed in the name of a test.
    let test = kernel.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let _ = writeln!(text, "TN:{test}\nSF:{}", file.path);
    for function in &file.functions {
        let _ = writeln!(text, "FN:{},{}", function.line, function.name);
    }
    for function in &file.functions {
        let reached = u8::from(function.reached);
        let _ = writeln!(text, "FNDA:{reached},{}", function.name);
    }
    let functions = file.function_tally();
    let _ = writeln!(text, "FNF:{}\nFNH:{}", functions.total, functions.reached);
    for (line, reached) in &file.lines {
        let _ = writeln!(text, "DA:{line},{}", u8::from(*reached));
    }
    let lines = file.line_tally();
    let _ = writeln!(
        text,
        "LF:{}\nLH:{}\nend_of_record",
        lines.total, lines.reached
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_was_reached_is_told_by_file() {
        expect![[r#"
            TN:6_12_patched_kcov
            SF:fs/splice.c
            FN:10,splice_to_socket
            FN:30,iter_to_pipe
            FNDA:1,splice_to_socket
            FNDA:0,iter_to_pipe
            FNF:2
            FNH:1
            DA:10,1
            DA:11,1
            DA:14,0
            DA:30,0
            LF:4
            LH:2
            end_of_record
            TN:6_12_patched_kcov
            SF:net/ipv4/fib_trie.c
            FN:20,fib_find
            FNDA:0,fib_find
            FNF:1
            FNH:0
            DA:20,0
            DA:22,0
            DA:48,0
            LF:3
            LH:0
            end_of_record
            TN:6_12_patched_kcov
            SF:include/linux/skbuff.h
            FN:5,skb_get
            FNDA:1,skb_get
            FNF:1
            FNH:1
            DA:5,1
            LF:1
            LH:1
            end_of_record
        "#]]
        .assert_eq(&tracefile(&report()));
    }
}
