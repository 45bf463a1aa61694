//! What the server counts.

use std::sync::atomic::AtomicU64;

use ds4_engine::Engine;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::answer::{Answer, End};
use crate::app::App;

/// What the server counts.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    answers: Family<Ended, Counter>,
    tokens: Family<Tokens, Counter>,
    waited: Histogram,
    prefill: Histogram,
    per_token: Histogram,
    running: Gauge,
    waiting: Gauge,
    remembered: Gauge,
    free_bytes: Gauge<u64, AtomicU64>,
    total_bytes: Gauge<u64, AtomicU64>,
    tier_bytes: Family<Tier, Gauge<u64, AtomicU64>>,
    tier_places: Family<Tier, Gauge<u64, AtomicU64>>,
    tier_written: Family<Tier, Gauge<u64, AtomicU64>>,
    tier_dropped: Family<Tier, Gauge<u64, AtomicU64>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Tier {
    tier: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    path: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    end: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Tokens {
    kind: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("ds4");
        let seconds = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0];
        let token = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            answers: Family::default(),
            tokens: Family::default(),
            waited: Histogram::new(seconds),
            prefill: Histogram::new(seconds),
            per_token: Histogram::new(token),
            running: Gauge::default(),
            waiting: Gauge::default(),
            remembered: Gauge::default(),
            free_bytes: Gauge::default(),
            total_bytes: Gauge::default(),
            tier_bytes: Family::default(),
            tier_places: Family::default(),
            tier_written: Family::default(),
            tier_dropped: Family::default(),
        };
        let own = &metrics;
        registry.register(
            "requests",
            "Requests by path and status",
            own.requests.clone(),
        );
        registry.register("answers", "Answers by how they ended", own.answers.clone());
        registry.register(
            "tokens",
            "Tokens: computed, cached, generated, reasoning",
            own.tokens.clone(),
        );
        registry.register("wait_seconds", "From request to slot", own.waited.clone());
        registry.register(
            "prefill_seconds",
            "From slot to first token",
            own.prefill.clone(),
        );
        registry.register(
            "token_seconds",
            "Between two tokens of an answer",
            own.per_token.clone(),
        );
        registry.register("running", "Requests that have a slot", own.running.clone());
        registry.register("waiting", "Requests in line", own.waiting.clone());
        registry.register(
            "remembered_turns",
            "Turns that can be replayed",
            own.remembered.clone(),
        );
        registry.register(
            "kv_free_bytes",
            "Bytes of free KV pages",
            own.free_bytes.clone(),
        );
        registry.register(
            "kv_total_bytes",
            "Bytes of all KV pages",
            own.total_bytes.clone(),
        );
        for (name, help, family) in [
            (
                "tier_bytes",
                "Bytes kept beside the device, in memory of the host or on disk",
                &own.tier_bytes,
            ),
            (
                "tier_places",
                "Places kept there that can be gone on from",
                &own.tier_places,
            ),
            (
                "tier_written_bytes",
                "Bytes written there since the start",
                &own.tier_written,
            ),
            (
                "tier_dropped",
                "Records that were not written there, for want of room or by a failure",
                &own.tier_dropped,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        Self {
            registry,
            ..metrics
        }
    }

    /// What lies beside the device.
    fn tiers(&self, engine: &Engine) {
        for (tier, report) in [("host", engine.hosted()), ("disk", engine.stored())] {
            let Some(report) = report else {
                continue;
            };
            let tier = Tier { tier };
            self.tier_bytes.get_or_create(&tier).set(report.used);
            let places = report.frontiers as u64;
            self.tier_places.get_or_create(&tier).set(places);
            let written = report.written_bytes;
            self.tier_written.get_or_create(&tier).set(written);
            self.tier_dropped.get_or_create(&tier).set(report.dropped);
        }
    }

    /// A request was replied to. The path is one of the server's own, or `other`.
    pub(crate) fn replied(&self, path: &'static str, status: u16) {
        self.requests.get_or_create(&Request { path, status }).inc();
    }

    /// Answers are complete.
    pub(crate) fn answered(&self, answers: &[Answer]) {
        let count = |kind, tokens: u32| {
            self.tokens
                .get_or_create(&Tokens { kind })
                .inc_by(tokens.into());
        };
        for answer in answers {
            let end = match answer.end {
                Some(End::Stop) => "stop",
                Some(End::StopString(_)) => "stop_string",
                Some(End::Calls) => "calls",
                Some(End::Length) => "length",
                Some(End::Broken) | None => "broken",
            };
            self.answers.get_or_create(&Ended { end }).inc();
            let counts = answer.counts;
            count("computed", counts.prompt - counts.cached);
            count("cached", counts.cached);
            count("generated", counts.generated);
            count("reasoning", counts.reasoning);
            let usage = answer.usage;
            self.waited.observe(usage.waited.as_secs_f64());
            self.prefill.observe(usage.prefill.as_secs_f64());
            if usage.generated_tokens > 1 {
                let tokens = f64::from(usage.generated_tokens - 1);
                self.per_token.observe(usage.decode.as_secs_f64() / tokens);
            }
        }
    }

    /// Everything, in the text format of Prometheus.
    pub(crate) fn text(&self, app: &App) -> String {
        if let Ok((model, line)) = app.serving() {
            let (running, waiting) = line.counts();
            self.running.set(running as i64);
            self.waiting.set(waiting as i64);
            if let Ok(status) = model.engine().status() {
                self.free_bytes.set(status.free_bytes);
                self.total_bytes.set(status.total_bytes);
            }
            self.tiers(model.engine());
        }
        self.remembered.set(app.replay.size().0 as i64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
