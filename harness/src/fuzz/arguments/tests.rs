use std::fs;

use super::*;

fn arguments(line: &str) -> Arguments {
    Arguments::new(line.split_whitespace().map(OsString::from))
}

#[test]
fn who_starts_others_stays_on_the_host() {
    for (line, stays) in [
        ("", false),
        ("corpus -runs=10", false),
        ("-fork=2 corpus", true),
        ("-fork=0 corpus", false),
        ("-jobs=3 -workers=2", true),
        ("-merge=1 a b", true),
        ("-merge=1 -merge_inner=1 -merge_control_file=/x a b", false),
        ("-set_cover_merge=1 a b", true),
        ("-minimize_crash=1 a", true),
        ("-minimize_crash=1 -minimize_crash_internal_step=1 a", false),
        ("-cleanse_crash=1 a", true),
        ("-help=1", true),
    ] {
        assert_eq!(arguments(line).starts_others(), stays, "{line}");
    }
}

#[test]
fn folders_are_those_of_what_is_named() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().canonicalize().unwrap();
    for folder in ["corpus/deep", "artifacts", "merge"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    fs::write(home.join("merge/list"), "").unwrap();
    let at = |name: &str| home.join(name).display().to_string();
    let line = format!(
        "{} {} -artifact_prefix={}/ -merge_control_file={} -seed_inputs=@{},{} -runs=3 -dict=/dev/null",
        at("corpus"),
        at("corpus/deep"),
        at("artifacts"),
        at("merge/control"),
        at("merge/list"),
        at("nowhere/x"),
    );
    let expected = ["artifacts", "corpus", "merge"].map(|it| home.join(it));
    assert_eq!(arguments(&line).folders(), expected);
    // A comma separates names in one place only.
    fs::create_dir(home.join("a,b")).unwrap();
    assert_eq!(arguments(&at("a,b")).folders(), [home.join("a,b")]);
    let none = "-artifact_prefix=/ -seed=5 nonsense -merge_control_file=/tmp/x /tmp";
    assert!(arguments(none).folders().is_empty());
    // Beside what is run.
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    for line in ["-artifact_prefix=x-", "-exact_artifact_path=x"] {
        assert_eq!(
            arguments(line).folders(),
            std::slice::from_ref(&here),
            "{line}"
        );
    }
    assert_eq!(
        arguments("/etc/passwd").misplaced(),
        Some("/etc/passwd".into())
    );
    assert_eq!(arguments(&at("merge/list")).misplaced(), None);
}

#[test]
fn an_artifact_has_a_prefix_or_a_path() {
    let of = |line: &str| arguments(line).artifact("crash-1");
    assert_eq!(of(""), Path::new("crash-1"));
    assert_eq!(of("-artifact_prefix=a/b-"), Path::new("a/b-crash-1"));
    assert_eq!(of("-exact_artifact_path=x"), Path::new("x"));
    assert_eq!(arguments("").error_status(), 77);
    assert_eq!(arguments("-error_exitcode=3").error_status(), 3);
}

#[test]
fn the_guest_gets_no_limit_in_its_own_time_and_a_seed() {
    let given = |line: &str| {
        let all = arguments(line).for_guest(9);
        let all: Vec<_> = all.iter().map(|it| it.to_str().unwrap()).collect();
        all.join(" ")
    };
    let rare = "-entropic_feature_frequency_threshold";
    let without = "-timeout=0 -report_slow_units=1000000000";
    let always = format!("{without} {rare}=16");
    assert_eq!(
        given("c -timeout=5 -report_slow_units=2"),
        format!("c {always} -seed=9")
    );
    assert_eq!(given("-seed=4"), format!("-seed=4 {always}"));
    assert_eq!(given("-seed=0"), format!("-seed=0 {always} -seed=9"));
    assert_eq!(
        given(&format!("-seed=4 {rare}=99")),
        format!("-seed=4 {rare}=99 {without}")
    );
}
