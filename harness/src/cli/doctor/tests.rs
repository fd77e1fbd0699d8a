use super::*;

#[test]
fn a_missing_thing_decides_the_status() {
    let ok = Check::ok("a", "x");
    let warn = Check::not_ok("b", State::Warn, "y", "do");
    let missing = Check::not_ok("c", State::Missing, "z", "do it");
    assert_eq!(status(&[ok.clone(), warn.clone()]), Status::Held);
    assert_eq!(status(&[ok.clone(), missing.clone()]), Status::Missing);
    assert_eq!(
        human(&[ok, missing.clone()]),
        "ok       a  x\nmissing  c  z\n            -> do it\n"
    );
    assert_eq!(
        json_line(&missing),
        r#"{"check":"c","found":"z","remedy":"do it","state":"missing"}"#
    );
    assert!(json_line(&warn).contains(r#""state":"warn""#));
}

#[test]
fn this_machine_is_looked_at() {
    let checks = checks();
    for what in ["platform", "cpus", "memory", "guest memory", "ptrace"] {
        assert!(checks.iter().any(|check| check.what == what), "{what}");
    }
    // What is wrong with the kernels may be in the message.
    for check in checks.iter().filter(|check| check.what != "kernels") {
        assert_eq!(
            check.state == State::Ok,
            check.remedy.is_none(),
            "{check:?}"
        );
        assert!(
            !check.found.is_empty() && !check.found.contains('\n'),
            "{check:?}"
        );
    }
}

#[test]
fn tools_matter_while_a_kernel_is_to_be_built() {
    let state = |missing, needed, can_install| build_tools(missing, needed, can_install).state;
    assert_eq!(state(&[], true, false), State::Ok);
    assert_eq!(state(tools::TOOLS, true, false), State::Missing);
    assert_eq!(state(tools::TOOLS, true, true), State::Warn);
    assert_eq!(state(tools::TOOLS, false, false), State::Warn);
    let check = build_tools(&tools::TOOLS[..1], true, false);
    assert!(check.remedy.unwrap().contains("bc"));
}

#[test]
fn memory_is_judged_by_the_number_of_guests() {
    let text = "MemTotal: 100 kB\nMemAvailable:    2097152 kB\n";
    assert_eq!(available_bytes(text), Some(2 << 30));
    assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
    let state = |bytes, guests| judge_memory(bytes, guests).state;
    assert_eq!(state(Some(2 << 30), 2), State::Ok);
    assert_eq!(state(Some(2 << 30), 64), State::Warn);
    assert_eq!(state(Some(100 << 20), 1), State::Missing);
    assert_eq!(state(None, 1), State::Warn);
}

#[test]
fn disk_and_cache_are_judged() {
    let root = Path::new("/c");
    assert_eq!(disk(root, 10, Ok(10)).state, State::Ok);
    let check = disk(root, 4_000_000_000, Ok(10));
    assert_eq!(check.state, State::Missing);
    assert_eq!(check.found, "10 B free in /c, 4.0 GB needed");
    let failed = std::io::Error::from_raw_os_error(libc::EIO);
    assert_eq!(disk(root, 10, Err(failed)).state, State::Warn);

    let folder = tempfile::tempdir().unwrap();
    assert_eq!(cache(&folder.path().join("not/yet")).state, State::Ok);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(cache(&file.join("below")).state, State::Missing);
    assert_eq!(cache(Path::new("/proc/inflight")).state, State::Missing);
}

#[test]
fn source_and_kernels() {
    assert_eq!(source(false, false).state, State::Ok);
    assert_eq!(source(true, true).state, State::Ok);
    assert_eq!(source(true, false).state, State::Missing);
    let need = |build: &[KernelName]| {
        Ok(kernel::Need {
            build: build.to_vec(),
            ..kernel::Need::default()
        })
    };
    assert_eq!(kernels(need(&[])).state, State::Ok);
    let check = kernels(need(&KernelName::usual()));
    assert_eq!(check.state, State::Warn);
    assert_eq!(
        check.remedy.unwrap(),
        "inflight kernel build 6.12-stock 6.12-patched"
    );
    let check = kernels(Err(kernel::Error::Input("no series".into())));
    assert_eq!(check.state, State::Missing);
    assert_eq!(check.found, "no series");
}

#[test]
fn guest_memory_is_looked_for_where_the_engine_puts_it() {
    // Nothing has four petabytes: the engine then takes the other folder.
    let folder = tempfile::tempdir().unwrap();
    let chosen = engine::memory_directory(u32::MAX, folder.path());
    assert_eq!(chosen, folder.path());
    assert_ne!(judge_guest_memory(folder.path()).state, State::Missing);
    let check = judge_guest_memory(Path::new("/proc"));
    assert_eq!(check.state, State::Missing);
    assert!(check.remedy.unwrap().contains("/dev/shm"));
}
