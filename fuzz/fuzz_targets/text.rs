//! The parser and the printer of scenarios: `cargo fuzz run -s none text`. Needs no
//! kernel.
#![no_main]

use inflight::scenario::normalize::normalize;
use inflight::scenario::text;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let scenario = match text::parse_bytes("input", bytes) {
        Ok(scenario) => scenario,
        Err(error) => {
            // It says where: `input:LINE:COLUMN: `.
            let message = error.to_string();
            let place = message.strip_prefix("input:").expect("it names the file");
            let mut numbers = place.splitn(3, ':');
            for what in ["line", "column"] {
                let number = numbers.next().and_then(|it| it.parse::<u32>().ok());
                assert!(number.is_some_and(|it| it > 0), "no {what}: {message}");
            }
            return Corpus::Keep;
        }
    };
    // What is accepted runs as it is written.
    assert_eq!(scenario, normalize(scenario.clone()));
    let printed = scenario.to_string();
    let again = text::parse("printed", &printed).unwrap_or_else(|error| {
        panic!("{error}\n{printed}");
    });
    assert_eq!(scenario, again, "{printed}");
    assert_eq!(printed, again.to_string());
    Corpus::Keep
});
