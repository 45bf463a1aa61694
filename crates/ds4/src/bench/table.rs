//! The report for people.

use std::fmt::Write;

use crate::units::{Bytes, grouped};

use super::json::Older;
use super::report::{Report, Series};

/// The report, compared with an older one if there is one.
pub(super) fn render(report: &Report, older: Option<&Older>) -> String {
    let mut text = head(report);
    let mut rows = vec![titles(older.is_some())];
    for point in &report.points {
        let mut row = vec![
            grouped(point.context.into()),
            point.sessions.to_string(),
            grouped(point.prefilled.into()),
            rate(&point.prefill),
            spread(&point.prefill),
            rate(&point.decode),
            spread(&point.decode),
            Bytes(point.kv_bytes).to_string(),
            percent(point.bandwidth_share(report.environment.bandwidth)),
        ];
        if let Some(older) = older {
            let then = older.at(point);
            row.push(ratio(&point.prefill, then.and_then(|then| then.prefill)));
            row.push(ratio(&point.decode, then.and_then(|then| then.decode)));
        }
        rows.push(row);
    }
    text.push_str(&aligned(&rows));
    text.push_str(&notes(report, older));
    text
}

fn head(report: &Report) -> String {
    let (environment, model) = (&report.environment, &report.model);
    let memory = environment.memory.map_or_else(
        || "memory unknown".to_owned(),
        |memory| format!("{} of memory", Bytes(memory)),
    );
    let settings = &report.settings;
    let delivers = Bytes(environment.bandwidth as u64);
    let host = format!(
        "{}, {} of {} hardware threads, {}, {memory}",
        environment.cpu, environment.threads, environment.hardware_threads, environment.simd
    );
    let machine = match (environment.device_memory, environment.threads) {
        (Some(card), _) => {
            format!(
                "{} on the card that it reads at {delivers}/s\n{host}",
                Bytes(card)
            )
        }
        (None, 1) => format!("{host} that one thread can read at {delivers}/s"),
        (None, threads) => format!("{host} that {threads} threads can read at {delivers}/s"),
    };
    format!(
        "ds4 {} on {}, {}\n\
         {machine}\n\
         {}: {}, {} layers, {}, {}, identity {}\n\
         {}; {} runs, {}\n\n",
        environment.version,
        environment.device,
        environment.system,
        model.name,
        model.profile,
        model.layers,
        model.recipe,
        Bytes(model.file_bytes),
        model.identity,
        settings.prompt,
        settings.repetitions,
        settings.arithmetic,
    )
}

fn titles(compared: bool) -> Vec<String> {
    let own = [
        "context",
        "sessions",
        "read",
        "read t/s",
        "+-",
        "write t/s",
        "+-",
        "KV",
        "bandwidth",
    ];
    let old: &[&str] = if compared {
        &["read x", "write x"]
    } else {
        &[]
    };
    own.iter().chain(old).map(|&title| title.into()).collect()
}

/// Columns as wide as their widest entry, to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:>width$}"))
            .collect();
        let _ = writeln!(text, "{}", cells.join("  "));
    }
    text
}

fn notes(report: &Report, older: Option<&Older>) -> String {
    let mut text = String::new();
    if !report.is_complete {
        text.push_str("\nInterrupted: these are the points that were measured.\n");
    }
    if report.points.iter().any(|point| !point.is_same_alone) {
        text.push_str(
            "\nIn company the first session wrote other tokens than alone: sums in another order\n\
             (with --exact there is one order).\n",
        );
    }
    for (name, then, now) in older.map_or_else(Vec::new, |older| older.differences(report)) {
        let _ = writeln!(
            text,
            "\nThen and now differ in {name}: {then} then, {now} now."
        );
    }
    text
}

fn rate(series: &Series) -> String {
    series.median().map_or_else(
        || "-".to_owned(),
        |rate| match rate {
            0.0..100.0 => format!("{rate:.2}"),
            _ => format!("{rate:.1}"),
        },
    )
}

fn spread(series: &Series) -> String {
    match series.all().len() {
        0 | 1 => "-".to_owned(),
        _ => percent(series.spread()),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

fn ratio(now: &Series, then: Option<f64>) -> String {
    match (now.median(), then) {
        (Some(now), Some(then)) => format!("{:.3}", now / then),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::render;

    #[test]
    fn a_table_says_what_was_measured_and_how_sure_it_is() {
        let report = report();
        let text = render(&report, None);
        let line = |part: &str| {
            let found = text.lines().find(|line| line.contains(part));
            found.unwrap_or_else(|| panic!("no {part} in {text}"))
        };
        assert!(line("4,096").contains("12.00"), "{text}");
        assert!(line("4,096").contains("25.0 %"), "the spread: {text}");
        assert!(line("identity").contains("cafe"));
        assert!(!text.contains("Interrupted"));
    }
}
