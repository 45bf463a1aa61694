//! The report as a picture: reading and writing speed over the context, legible in light and dark.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::json::Older;
use super::report::{Point, Report, Series};
use crate::units::{Bytes, grouped};

const WIDTH: f64 = 860.0;
const PANEL: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 64.0;
const GAP: f64 = 64.0;

/// Colours that differ in lightness as well, so that they are told apart without colour vision.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d1f", "#56b4e9",
];

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1b1f24}.dim{fill:#57606a}\
.title{font-size:15px;font-weight:600}.paper{fill:#fff}.grid{stroke:#d0d7de}.axis{stroke:#57606a}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.paper{fill:#0d1117}\
.grid{stroke:#30363d}.axis{stroke:#9198a1}}";

/// A panel's title, whether it is of writing, and what it shows of a point and of an older point.
type Shown = (
    &'static str,
    bool,
    fn(&Point) -> &Series,
    fn(&super::json::OlderPoint) -> Option<f64>,
);

const PANELS: [Shown; 2] = [
    (
        "reading: tokens a second",
        false,
        |point| &point.prefill,
        |old| old.prefill,
    ),
    (
        "writing: tokens a second, of all sessions together",
        true,
        |point| &point.decode,
        |old| old.decode,
    ),
];

/// The picture.
pub(super) fn render(report: &Report, older: Option<&Older>) -> String {
    let panels: Vec<&Shown> = PANELS
        .iter()
        .filter(|panel| {
            report
                .points
                .iter()
                .any(|point| panel.2(point).median().is_some())
        })
        .collect();
    let height = TOP + panels.len() as f64 * (PANEL + GAP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\"><style>{STYLE}</style>\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let environment = &report.environment;
    let (on, with) = match environment.device_memory {
        Some(memory) => (&environment.device, Bytes(memory).to_string()),
        None => (
            &environment.cpu,
            format!("{} threads, {}", environment.threads, environment.simd),
        ),
    };
    let title = format!("{} on {on}", report.model.name);
    let below = format!("{with}, ds4 {}", environment.version);
    label(&mut text, 16.0, 26.0, "title", &title);
    label(&mut text, 16.0, 46.0, "dim", &below);
    for (number, shown) in panels.into_iter().enumerate() {
        let top = TOP + GAP / 2.0 + number as f64 * (PANEL + GAP);
        panel(&mut text, top, report, older, shown);
    }
    text.push_str("</svg>\n");
    text
}

/// Places of values in a panel.
struct Scale {
    top: f64,
    most: f64,
    contexts: (f64, f64),
    is_logarithmic: bool,
}

impl Scale {
    fn x(&self, context: f64) -> f64 {
        let place = |value: f64| {
            if self.is_logarithmic {
                value.log2()
            } else {
                value
            }
        };
        let (first, last) = (place(self.contexts.0), place(self.contexts.1));
        let share = match last > first {
            true => (place(context) - first) / (last - first),
            false => 0.5,
        };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PANEL * (1.0 - value / self.most)
    }
}

fn panel(text: &mut String, top: f64, report: &Report, older: Option<&Older>, shown: &Shown) {
    let &(title, is_writing, series, old) = shown;
    let contexts: BTreeSet<u32> = report.points.iter().map(|point| point.context).collect();
    let (Some(&first), Some(&last)) = (contexts.first(), contexts.last()) else {
        return;
    };
    let greatest = report
        .points
        .iter()
        .filter_map(|point| Some(series(point).range()?.1));
    let then = older.iter().flat_map(|older| &older.points).filter_map(old);
    let most = greatest.chain(then).fold(0.0, f64::max);
    let scale = Scale {
        top,
        most: round_up(most),
        contexts: (f64::from(first.max(1)), f64::from(last.max(1))),
        is_logarithmic: last / first.max(1) >= 16,
    };
    label(text, LEFT, top - 12.0, "", title);
    axes(text, &scale, &contexts);
    let counts: BTreeSet<u32> = report.points.iter().map(|point| point.sessions).collect();
    // One session reads for all.
    let lines = if is_writing { counts.len() } else { 1 };
    let mut names: Vec<(f64, f64, String)> = Vec::new();
    for (&sessions, colour) in counts.iter().take(lines).zip(COLOURS.iter().cycle()) {
        let points = || {
            report
                .points
                .iter()
                .filter(|point| point.sessions == sessions)
        };
        let then = points().filter_map(|point| Some((point.context, old(&older?.at(point)?)?)));
        line(text, &scale, colour, "stroke-dasharray=\"5 4\"", then);
        let now = points().filter_map(|point| Some((point.context, series(point).median()?)));
        let Some((end, value)) = line(text, &scale, colour, "", now) else {
            continue;
        };
        points().for_each(|point| whisker(text, &scale, colour, point.context, series(point)));
        let name = match sessions {
            1 => "1 session".to_owned(),
            count => format!("{count} sessions"),
        };
        let (x, y) = (scale.x(f64::from(end)) + 10.0, scale.y(value) + 4.0);
        if is_writing {
            names.push((y, x, name));
        }
    }
    // Lines may end where others do, their names may not.
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free_from = f64::NEG_INFINITY;
    for (y, x, name) in names {
        let y = y.max(free_from);
        free_from = y + 15.0;
        label(text, x, y, "", &name);
    }
}

fn axes(text: &mut String, scale: &Scale, contexts: &BTreeSet<u32>) {
    let right = WIDTH - RIGHT;
    for step in 0..=4 {
        let value = scale.most * f64::from(step) / 4.0;
        let y = scale.y(value);
        let class = if step == 0 { "axis" } else { "grid" };
        let _ = writeln!(
            text,
            "<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{right}\"/>"
        );
        let shown = match value {
            1000.0.. => grouped(value.round() as u64),
            _ => format!("{}", (value * 1000.0).round() / 1000.0),
        };
        let _ = writeln!(
            text,
            "<text class=\"dim\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{shown}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let mut free_from = f64::NEG_INFINITY;
    for &context in contexts {
        let x = scale.x(f64::from(context));
        if x < free_from {
            continue;
        }
        free_from = x + 56.0;
        let _ = writeln!(
            text,
            "<text class=\"dim\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            scale.top + PANEL + 18.0,
            tokens(context)
        );
    }
}

/// A line through points; the last one.
fn line(
    text: &mut String,
    scale: &Scale,
    colour: &str,
    dashes: &str,
    points: impl Iterator<Item = (u32, f64)>,
) -> Option<(u32, f64)> {
    let points: Vec<(u32, f64)> = points.collect();
    let place = |&(context, value): &(u32, f64)| {
        format!("{:.1},{:.1}", scale.x(f64::from(context)), scale.y(value))
    };
    let places: Vec<String> = points.iter().map(place).collect();
    if places.is_empty() {
        return None;
    }
    let _ = writeln!(
        text,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" {dashes} points=\"{}\"/>",
        places.join(" ")
    );
    points.last().copied()
}

/// The median, and how far the runs were apart.
fn whisker(text: &mut String, scale: &Scale, colour: &str, context: u32, series: &Series) {
    let (Some(median), Some((least, most))) = (series.median(), series.range()) else {
        return;
    };
    let x = scale.x(f64::from(context));
    let (low, middle, high) = (scale.y(least), scale.y(median), scale.y(most));
    let _ = writeln!(
        text,
        "<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"3.5\" fill=\"{colour}\"/>\
         <path stroke=\"{colour}\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>"
    );
}

fn label(text: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let _ = writeln!(
        text,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
        escaped(words)
    );
}

fn escaped(words: &str) -> String {
    words
        .chars()
        .filter(|c| !c.is_control())
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

/// The next number whose quarters are easy to read.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0];
    let fits = steps.into_iter().find(|step| step * power >= value);
    fits.unwrap_or(10.0) * power
}

/// `65536` as `64k`.
fn tokens(count: u32) -> String {
    match count {
        0x10_0000.. if count.is_multiple_of(0x10_0000) => format!("{}M", count >> 20),
        0x400.. if count.is_multiple_of(0x400) => format!("{}k", count >> 10),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn a_picture_has_both_panels_and_is_well_formed() {
        let text = render(&report(), None);
        assert!(text.contains("reading") && text.contains("writing"));
        assert!(text.contains("prefers-color-scheme"));
        assert!(text.contains("a &lt;CPU&gt; &amp; more"), "escaped");
        assert!(!text.contains("NaN") && !text.contains("inf"));
        // One line of two points is read; two are written, one for each number of sessions.
        assert_eq!(text.matches("<polyline").count(), 3);
        assert_eq!(text.matches("<circle").count(), 6);
        // Both end at the same speed; their names do not lie on each other.
        let places: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("session</") || line.contains("sessions</"))
            .map(|line| line.split("y=").nth(1).expect("a place"))
            .collect();
        assert!(places.len() == 2 && places[0] != places[1], "{places:?}");
        assert_eq!(
            text.matches("<text").count(),
            text.matches("</text>").count()
        );
    }

    #[test]
    fn what_was_not_measured_is_not_drawn() {
        let mut report = report();
        report.points.truncate(1);
        report.points[0].prefill = Series::default();
        let text = render(&report, None);
        assert!(!text.contains("reading") && text.contains("writing"));
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }

    #[test]
    fn axes_end_at_easy_numbers() {
        for (value, end) in [(0.0, 1.0), (0.93, 1.0), (11.0, 12.0), (580.0, 600.0)] {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
    }
}
