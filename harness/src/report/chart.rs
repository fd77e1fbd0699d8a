//! Curves, and how numbers, times and links are written on a page.

use std::time::Duration;

use maud::{Markup, html};

/// How wide and high a chart is, in units of its own: it is stretched to its place.
const CHART: (f64, f64) = (1000.0, 100.0);

/// One curve, from nothing up to its largest value.
pub fn chart(name: &str, points: &[(f64, f64)]) -> Markup {
    let (width, height) = CHART;
    let most = points.iter().fold(1.0, |most: f64, it| most.max(it.1));
    let end = points.last().map_or(1.0, |it| it.0).max(1.0);
    let place = |(at, value): &(f64, f64)| {
        let (x, y) = (at / end * width, height - value / most * height);
        format!("{x:.1},{y:.1}")
    };
    let curve = points.iter().map(place).collect::<Vec<_>>().join(" ");
    let first = points.first().map_or(0.0, |it| it.0 / end * width);
    let last = points.last().map_or(0.0, |it| it.1);
    let said = format!("{name} over time, {} in the end", number(last as u64));
    html! {
        figure {
            figcaption { (name) span { (number(last as u64)) } }
            svg viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" role="img"
                aria-label=(said) {
                @for part in [0.0, 0.5, 1.0] {
                    line.grid x1="0" x2=(width) y1=(part * height) y2=(part * height) {}
                }
                @if !points.is_empty() {
                    polygon.area points={ (format!("{first:.1}")) "," (height) " " (curve) " "
                        (width) "," (height) } {}
                    polyline.curve points=(curve) {}
                }
            }
            div.axis {
                span { "0 to " (number(most as u64)) }
                span { (time(end)) }
            }
        }
    }
}

/// Our own names need no escapes but for what a browser takes for a part of an address.
pub fn link(path: &std::path::Path) -> String {
    let text = path.to_string_lossy();
    text.replace('%', "%25")
        .replace('#', "%23")
        .replace('?', "%3F")
}

/// With a comma every three digits.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The two largest units.
pub fn time(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).map_or(0, |it| it.as_secs());
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_runs_from_corner_to_corner() {
        let points = [(0.0, 0.0), (5.0, 10.0), (10.0, 20.0)];
        let chart = chart("features", &points).into_string();
        assert!(
            chart.contains("points=\"0.0,100.0 500.0,50.0 1000.0,0.0\""),
            "{chart}"
        );
        // Of nothing there is no curve, and no division by it.
        let none = super::chart("features", &[]).into_string();
        assert!(
            !none.contains("NaN") && !none.contains("polyline"),
            "{none}"
        );
    }

    #[test]
    fn numbers_and_times_are_for_people() {
        let numbers = [0, 999, 1000, 65_987, 1_234_567].map(number);
        assert_eq!(numbers, ["0", "999", "1,000", "65,987", "1,234,567"]);
        let times = [0.4, 59.0, 61.0, 3_725.0, 90_000.0, f64::NAN].map(time);
        let expected = ["0 s", "59 s", "1 min 1 s", "1 h 2 min", "1 d 1 h", "0 s"];
        assert_eq!(times, expected);
    }
}
