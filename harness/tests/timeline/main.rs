//! The timeline in a browser. `INFLIGHT_SCREENSHOTS=FOLDER` keeps pictures to look at.

mod browser;
mod race;

use std::path::PathBuf;

use browser::Browser;
use inflight::report::explain::timeline;

const TAB: &str = "\u{e004}";
const DOWN: &str = "\u{e015}";

/// The race on both kernels, as a file.
fn page(folder: &tempfile::TempDir) -> PathBuf {
    let page = timeline::page(&race::scenario(), &[race::stock(), race::patched()]);
    let file = folder.path().join("timeline.html");
    std::fs::write(&file, page).unwrap();
    file
}

#[test]
fn the_race_is_seen_in_a_browser() {
    if browser::is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = page(&folder);
    for (width, height) in [(1400, 1000), (360, 780)] {
        for dark in [false, true] {
            let browser = Browser::new(width, height, dark);
            browser.open(&file);
            looks_right(&browser, width);
            speaks_to_the_keyboard(&browser);
            browser.ask("document.activeElement.blur()");
            if let Some(folder) = std::env::var_os("INFLIGHT_SCREENSHOTS") {
                let scheme = if dark { "dark" } else { "light" };
                let name = format!("timeline-{width}-{scheme}.png");
                browser.screenshot(&PathBuf::from(folder).join(name));
            }
        }
    }
}

fn looks_right(browser: &Browser, width: u32) {
    let number = |script: &str| browser.ask(script).as_f64().unwrap_or(f64::NAN);
    let count = |selector: &str| {
        number(&format!(
            "return document.querySelectorAll('{selector}').length"
        ))
    };
    assert_eq!(count("svg.chart"), 2.0);
    for lane in ["actor", "file", "link", "reader"] {
        assert_eq!(count(&format!("svg.chart .lane-{lane}")), 2.0, "{lane}");
    }
    // Bytes are torn on one of the kernels, and both ends are marked.
    assert_eq!(count("svg.chart .torn-bytes"), 1.0);
    assert_eq!(count("svg.chart .tear .spot"), 2.0);
    assert_eq!(
        count("svg.chart .mark.torn"),
        3.0,
        "the write, the packet, the bytes"
    );
    // The patched call waits, the other one does not, and both are on the same scale.
    let heights = "return [...document.querySelectorAll('svg.chart')].map(chart => \
                   chart.querySelector('.bar.send').getBoundingClientRect().height)";
    let heights = browser.ask(heights);
    let [stock, patched] = [0, 1].map(|at| heights[at].as_f64().unwrap());
    assert!(patched > 3.0 * stock, "{stock} {patched}");
    // The body does not scroll sideways, and side by side is for wide screens.
    let widest = number("return document.documentElement.scrollWidth");
    assert!(widest <= f64::from(width), "{widest} > {width}");
    let tops = "const [one, two] = [...document.querySelectorAll('figure')].map(it => \
                it.getBoundingClientRect().top); return two - one";
    assert_eq!(number(tops) == 0.0, width > 600);
    let cut = "return [...document.querySelectorAll('svg.chart .tick')].some(it => \
               it.getBoundingClientRect().left < it.closest('svg.chart').getBoundingClientRect().left)";
    assert_eq!(browser.ask(cut), false, "a time is cut off");
    // Nothing at the same instant hides another: bars of calls do not overlap.
    let overlaps = "return [...document.querySelectorAll('svg.chart')].some(chart => { \
                    const boxes = [...chart.querySelectorAll('.bar')].map(it => it.getBoundingClientRect()); \
                    return boxes.some((one, at) => boxes.slice(at + 1).some(two => \
                    one.bottom > two.top && two.bottom > one.top)); })";
    assert_eq!(browser.ask(overlaps), false);
}

fn speaks_to_the_keyboard(browser: &Browser) {
    let tip =
        "const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent";
    assert_eq!(browser.ask(tip), "");
    // The summary of the scenario comes first, then the chart.
    browser.press(TAB);
    browser.press(TAB);
    let said = browser.ask(tip);
    let said = said.as_str().unwrap();
    assert!(said.starts_with("a · 1: sendfile 0+4096"), "{said}");
    assert!(said.contains("returned 4096 bytes"), "{said}");
    let mut all = String::new();
    for _ in 0..5 {
        browser.press(DOWN);
        all += browser.ask(tip).as_str().unwrap();
    }
    for words in [
        "writes generation 1: file 0+4096 (page 0)",
        "queued: generation 0; leaving: generation 1",
    ] {
        assert!(all.contains(words), "{all}");
    }
    let row = browser.ask("return document.querySelectorAll('tr.lit').length");
    assert_eq!(row, 1, "the row of what has the focus");
    let inside = "const box = document.getElementById('tip').getBoundingClientRect(); \
                  return box.left >= 0 && box.right <= innerWidth && box.top >= 0";
    assert_eq!(browser.ask(inside), true);
}
