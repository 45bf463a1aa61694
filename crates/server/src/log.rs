//! One line per request, written when its last byte is on the way.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::answer::{Answer, Counts, End};
use crate::clock;
use crate::error::ApiError;
use crate::tenant::Tenant;

/// Where lines go.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Box<dyn Write + Send>>>);

impl Log {
    pub(crate) fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(out)))
    }

    pub(crate) fn line(&self, line: &str) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written is no reason to stop serving.
        let _ = writeln!(out, "{line}");
    }
}

/// What happened to a request. Clones are the same; the last one to go writes the line.
#[derive(Clone)]
pub(crate) struct Receipt(Arc<Record>);

struct Record {
    log: Log,
    begun: Instant,
    what: String,
    entry: Mutex<Entry>,
}

#[derive(Default)]
struct Entry {
    tenant: Option<Tenant>,
    status: u16,
    outcome: String,
}

impl Receipt {
    /// A request that just came.
    pub(crate) fn new(log: Log, peer: &str, method: &str, path: &str) -> Self {
        // A path is somebody else's text: it must not break the line.
        let path: String = path
            .chars()
            .take(200)
            .flat_map(char::escape_default)
            .collect();
        Self(Arc::new(Record {
            log,
            begun: Instant::now(),
            what: format!("{peer} {method} {path}"),
            entry: Mutex::default(),
        }))
    }

    pub(crate) fn tenant(&self, tenant: Tenant) {
        self.entry(|entry| entry.tenant = Some(tenant));
    }

    pub(crate) fn status(&self, status: u16) {
        self.entry(|entry| entry.status = status);
    }

    /// The client went.
    pub(crate) fn left(&self) {
        self.entry(|entry| entry.outcome = "client left".to_owned());
    }

    pub(crate) fn failed(&self, error: &ApiError) {
        let message = error.message(crate::error::Family::OpenAi);
        let message: String = message
            .chars()
            .take(200)
            .flat_map(char::escape_default)
            .collect();
        self.entry(|entry| entry.outcome = format!("failed: {message}"));
    }

    pub(crate) fn answered(&self, counts: Counts, answers: &[Answer]) {
        let end = match answers.last().and_then(|answer| answer.end.as_ref()) {
            Some(End::Stop | End::StopString(_)) => "stop",
            Some(End::Calls) => "calls",
            Some(End::Length) => "length",
            Some(End::Broken) => "broken call",
            None => "?",
        };
        let Counts {
            prompt,
            cached,
            generated,
            ..
        } = counts;
        let usage = answers
            .first()
            .map(|answer| answer.usage)
            .unwrap_or_default();
        let outcome = format!(
            "prompt {prompt} (cached {cached}) wrote {generated}, waited {:.3} s, read {:.3} s, \
             wrote {:.3} s, {end}",
            usage.waited.as_secs_f64(),
            usage.prefill.as_secs_f64(),
            usage.decode.as_secs_f64(),
        );
        self.entry(|entry| entry.outcome = outcome);
    }

    fn entry(&self, change: impl FnOnce(&mut Entry)) {
        let entry = &self.0.entry;
        change(&mut entry.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let entry = self.entry.get_mut().unwrap_or_else(PoisonError::into_inner);
        let tenant = entry.tenant.map_or("-".to_owned(), Tenant::label);
        let outcome = match entry.outcome.as_str() {
            "" => String::new(),
            outcome => format!(" {outcome}"),
        };
        let now = clock::rfc3339(clock::seconds());
        let took = self.begun.elapsed().as_secs_f64();
        let Entry { status, .. } = entry;
        let what = &self.what;
        self.log.line(&format!(
            "{now} {what} {status} {tenant} {took:.3} s{outcome}"
        ));
    }
}
