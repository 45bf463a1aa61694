//! The report as JSON, and older reports to compare with.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::report::{Point, Report, Series};
use crate::manners::Hinted;

/// Version of the format.
const VERSION: u64 = 1;
/// An older report is not longer than this.
const LONGEST: u64 = 16 << 20;

/// The report.
pub(super) fn render(report: &Report) -> String {
    let environment = &report.environment;
    let (model, settings) = (&report.model, &report.settings);
    let points: Vec<Value> = report
        .points
        .iter()
        .map(|point| of_point(point, environment.bandwidth))
        .collect();
    let value = json!({
        "ds4_bench": VERSION,
        "environment": {
            "ds4": environment.version,
            "system": environment.system,
            "cpu": environment.cpu,
            "device": environment.device,
            "device_memory_bytes": environment.device_memory,
            "simd": environment.simd,
            "hardware_threads": environment.hardware_threads,
            "threads": environment.threads,
            "memory_bytes": environment.memory,
            "gpus": environment.gpus,
            "bandwidth_bytes_per_second": environment.bandwidth,
        },
        "model": {
            "name": model.name,
            "identity": model.identity,
            "profile": model.profile,
            "recipe": model.recipe,
            "layers": model.layers,
            "file_bytes": model.file_bytes,
        },
        "settings": {
            "repetitions": settings.repetitions,
            "seed": settings.seed,
            "arithmetic": settings.arithmetic,
            "kv_filled_at_random": settings.is_filled,
            "prompt": settings.prompt,
        },
        "complete": report.is_complete,
        "points": points,
    });
    format!("{value:#}\n")
}

fn of_point(point: &Point, bandwidth: f64) -> Value {
    json!({
        "ctx_tokens": point.context,
        "sessions": point.sessions,
        "prefill_tokens": point.prefilled,
        "prefill_tps": of_series(&point.prefill),
        "gen_tokens": point.generated,
        "gen_tps": of_series(&point.decode),
        "kvcache_bytes": point.kv_bytes,
        "token_bytes": point.token_bytes,
        "bandwidth_share": point.bandwidth_share(bandwidth),
        "repeatable": point.is_repeatable,
        "same_alone": point.is_same_alone,
    })
}

fn of_series(series: &Series) -> Value {
    let (Some(median), Some((least, most))) = (series.median(), series.range()) else {
        return Value::Null;
    };
    json!({ "median": median, "min": least, "max": most, "all": series.all() })
}

/// An older report.
#[derive(Debug)]
pub(super) struct Older {
    pub(super) points: Vec<OlderPoint>,
    /// What it was measured on, as far as it matters: name, and what it said.
    pub(super) facts: Vec<(&'static str, String)>,
}

/// A point of an older report: medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OlderPoint {
    pub(super) context: u64,
    pub(super) sessions: u64,
    pub(super) prefill: Option<f64>,
    pub(super) decode: Option<f64>,
}

/// Facts that make two reports comparable, and where they stand.
const FACTS: [(&str, &str); 8] = [
    ("ds4", "/environment/ds4"),
    ("CPU", "/environment/cpu"),
    ("device", "/environment/device"),
    ("SIMD", "/environment/simd"),
    ("threads", "/environment/threads"),
    ("model", "/model/identity"),
    ("arithmetic", "/settings/arithmetic"),
    ("KV filled at random", "/settings/kv_filled_at_random"),
];

/// Reads an older report.
pub(super) fn read(path: &Path) -> Result<Older> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {shown}"))?;
    if text.len() as u64 > LONGEST {
        bail!("{shown} is longer than {LONGEST} bytes: not a report of ds4 bench");
    }
    parse(&text).with_context(|| format!("{shown} is not a report of ds4 bench --json"))
}

fn parse(text: &str) -> Result<Older> {
    let value: Value = serde_json::from_str(text)?;
    match value.get("ds4_bench").and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(other) => bail!("it has version {other}; this program reads version {VERSION}"),
        None => bail!("it has no field \"ds4_bench\""),
    }
    let facts = FACTS.map(|(name, place)| (name, plain(value.pointer(place))));
    let points = value.get("points").and_then(Value::as_array);
    let points = points.context("it has no list \"points\"")?;
    let point = |(at, point): (usize, &Value)| {
        let number = |field: &str| {
            let value = point.get(field).and_then(Value::as_u64);
            value.with_context(|| format!("point {at} has no number \"{field}\""))
        };
        let median = |field: &str| {
            let value = point.get(field)?.get("median")?.as_f64()?;
            (value > 0.0).then_some(value)
        };
        Ok(OlderPoint {
            context: number("ctx_tokens")?,
            sessions: number("sessions")?,
            prefill: median("prefill_tps"),
            decode: median("gen_tps"),
        })
    };
    Ok(Older {
        points: points
            .iter()
            .enumerate()
            .map(point)
            .collect::<Result<_>>()?,
        facts: facts.to_vec(),
    })
}

fn plain(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "unknown".to_owned(),
    }
}

impl Older {
    /// Refuses a report of another device: its ratios would be of the machines, not of a change.
    pub(super) fn refuse_other_device(&self, device: &str) -> Result<()> {
        let was = self.facts.iter().find(|(name, _)| *name == "device");
        match was {
            Some((_, was)) if was != device => Err(Hinted::failure(
                format!("the report to compare with was measured on {was}, this is {device}"),
                "measure on the same device (--device), or leave --compare away",
            )),
            _ => Ok(()),
        }
    }

    /// The point measured at the same place.
    pub(super) fn at(&self, point: &Point) -> Option<OlderPoint> {
        let place = (u64::from(point.context), u64::from(point.sessions));
        let same = |old: &&OlderPoint| (old.context, old.sessions) == place;
        self.points.iter().find(same).copied()
    }

    /// What was different then: name, then, now.
    pub(super) fn differences(&self, now: &Report) -> Vec<(&'static str, String, String)> {
        let Ok(now) = parse(&render(now)) else {
            return Vec::new();
        };
        let pairs = self.facts.iter().zip(now.facts);
        pairs
            .filter(|(then, now)| then.1 != now.1)
            .map(|(then, now)| (then.0, then.1.clone(), now.1))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let report = report();
        let older = parse(&render(&report)).expect("our own report");
        assert_eq!(older.points.len(), report.points.len());
        let found = older.at(&report.points[0]).expect("the same point");
        assert_eq!(found.decode, report.points[0].decode.median());
        assert_eq!(older.differences(&report), []);
        let mut other = report;
        other.environment.threads += 1;
        let differences = older.differences(&other);
        assert_eq!(differences.len(), 1);
        assert_eq!(differences[0].0, "threads");
    }

    #[test]
    fn reports_of_two_devices_are_not_compared() {
        let report = report();
        let older = parse(&render(&report)).expect("our own report");
        older.refuse_other_device("CPU").expect("the same device");
        let error = older
            .refuse_other_device("NVIDIA H200")
            .expect_err("another one");
        let error = format!("{error:#}");
        assert!(
            error.contains("CPU") && error.contains("NVIDIA H200"),
            "{error}"
        );
    }

    #[test]
    fn foreign_json_is_refused_with_the_reason() {
        for (text, part) in [
            ("", "EOF"),
            ("[]", "ds4_bench"),
            ("{\"ds4_bench\": 2}", "version 2"),
            ("{\"ds4_bench\": 1}", "points"),
            ("{\"ds4_bench\": 1, \"points\": [{}]}", "point 0"),
        ] {
            let error = format!("{:#}", parse(text).expect_err(text));
            assert!(error.contains(part), "{error}");
        }
    }
}
