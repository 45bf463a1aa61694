//! One request under way: from its place in line to its last word.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant as Moment, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use crate::answer::{Answer, Counts, End, Manner};
use crate::app::App;
use crate::ask::Ask;
use crate::audience::{Audience, Listener, Nobody};
use crate::dialect::Dialect;
use crate::error::{ApiError, Kind};
use crate::line::Ticket;
use crate::log::Receipt;
use crate::model::Model;
use crate::prepare::Prepared;
use crate::pump::{Beat, pump};
use crate::replay::Said;
use crate::sse::Sse;
use crate::tenant::Tenant;
use crate::trace::Traced;
use crate::voice::{Voice, total};
use crate::way::Way;

/// A request that was understood and has a place in line.
pub(crate) struct Job {
    pub(crate) app: Arc<App>,
    pub(crate) model: Model,
    pub(crate) tenant: Tenant,
    pub(crate) ask: Ask,
    pub(crate) prepared: Arc<Prepared>,
    /// Which of its prompts it turned out to go by.
    pub(crate) way: Way,
    pub(crate) ticket: Ticket,
    pub(crate) voice: Box<dyn Voice>,
    pub(crate) dialect: Dialect,
    /// The body, if it is traced.
    pub(crate) body: Option<String>,
    pub(crate) receipt: Receipt,
}

impl Job {
    /// The whole reply.
    pub(crate) async fn whole(mut self) -> Result<Value, ApiError> {
        let answers = self.answers(&mut Nobody).await;
        self.trace(answers.as_deref());
        let answers = answers.inspect_err(|error| self.receipt.failed(error))?;
        self.voice.whole(&answers)
    }

    /// The reply in events. They are made on a task of their own, which ends when the client goes.
    pub(crate) fn stream(self) -> Response<Body> {
        let (sender, receiver) = mpsc::channel(4);
        let stall = self.app.config.patience.stall;
        tokio::spawn(self.speak(Listener { sender, stall }));
        let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("text/event-stream");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    async fn speak(mut self, mut listener: Listener) {
        let mut out = Sse::default();
        self.voice.open(&mut out);
        if !listener.hear(out.take()).await {
            return self.receipt.left();
        }
        let answers = self.answers(&mut listener).await;
        self.trace(answers.as_deref());
        match answers {
            Ok(answers) => self.voice.end(&answers, &mut out),
            Err(error) if error.kind == Kind::Timeout => return self.receipt.left(),
            Err(error) => {
                self.receipt.failed(&error);
                self.voice.fail(&error, &mut out);
            }
        }
        listener.hear(out.take()).await;
    }

    /// All answers, said as they grow. An error of kind `Timeout` means that nobody listens.
    async fn answers(&mut self, audience: &mut impl Audience) -> Result<Vec<Answer>, ApiError> {
        let gone = || ApiError::new(Kind::Timeout, "the client left");
        let alive = self.app.config.patience.alive;
        let mut out = Sse::default();
        loop {
            let sign_of_life = sleep_until(Moment::now() + alive);
            tokio::select! {
                () = self.ticket.turn() => break,
                () = audience.left() => return Err(gone()),
                () = sign_of_life => {
                    self.voice.alive(None, &mut out);
                    if !audience.hear(out.take()).await {
                        return Err(gone());
                    }
                }
            }
        }
        let prepared = Arc::clone(&self.prepared);
        let choices = self.ask.choices;
        // Whoever shares prefixes is one tenant to the engine.
        let tenant = match self.app.config.share_prefixes {
            true => Tenant::EVERYBODY,
            false => self.tenant,
        };
        let mut beats = pump(self.model.clone(), tenant, prepared, choices);
        let mut answers: Vec<Answer> = Vec::new();
        let mut cached = 0;
        let mut last = Moment::now();
        while !self.is_complete(&answers) {
            let beat = tokio::select! {
                beat = beats.next() => beat,
                () = audience.left() => return Err(gone()),
                () = sleep_until(last + alive) => {
                    self.voice.alive(progress(&answers), &mut out);
                    last = Moment::now();
                    if !audience.hear(out.take()).await {
                        return Err(gone());
                    }
                    continue;
                }
            };
            match beat {
                None => return Err(ApiError::internal("the answer ended without an end")),
                Some(Beat::Refused(error)) => return Err(error),
                Some(Beat::Begun { cached: found, way }) => {
                    (cached, self.way) = (found, way);
                    let prompt = self.prepared.path(way).ids.len() as u32;
                    let counts = Counts {
                        prompt,
                        cached,
                        ..Counts::default()
                    };
                    self.voice.begin(counts, &mut out);
                }
                Some(Beat::Outputs { choice, outputs }) => {
                    if answers.len() <= choice as usize {
                        answers.push(self.fresh(choice, cached));
                    }
                    let Some(answer) = answers.last_mut() else {
                        continue;
                    };
                    let (before, was_over) = (answer.progress, answer.is_over());
                    let voice = &mut self.voice;
                    let taken = answer.take(outputs, &mut |answer, event| {
                        voice.say(answer, event, &mut out);
                    });
                    taken?;
                    let is_reading = answer.tokens.is_empty() && answer.progress != before;
                    if is_reading && last.elapsed() >= BETWEEN_PROGRESS {
                        voice.alive(progress(&answers), &mut out);
                    } else if answer.is_over() && !was_over {
                        voice.close(answer, &mut out);
                    }
                }
            }
            if !out.is_empty() {
                last = Moment::now();
                if !audience.hear(out.take()).await {
                    return Err(gone());
                }
            }
        }
        drop(beats);
        for answer in &answers {
            self.remember(answer);
        }
        self.receipt.answered(total(&answers), &answers);
        self.app.metrics.answered(&answers);
        Ok(answers)
    }

    /// Whether every answer is there, with what it took.
    fn is_complete(&self, answers: &[Answer]) -> bool {
        let is_last = answers.len() == self.ask.choices as usize;
        is_last && answers.last().is_some_and(|answer| answer.is_over())
    }

    fn fresh(&self, index: u32, cached: u32) -> Answer {
        let manner = Manner {
            stops: self.ask.stops.clone(),
            call_prefix: self.dialect.call_prefix(),
            signature_prefix: self.dialect.signature_prefix(),
            has_logprobs: self.ask.sampling.report != ds4_engine::sampling::Report::Nothing,
            is_one_call: self.ask.is_one_call,
            model: self.model.clone(),
        };
        let mut answer = Answer::new(index, manner);
        answer.counts.prompt = self.prepared.path(self.way).ids.len() as u32;
        answer.counts.cached = cached;
        answer
    }

    /// Writes down what became of it, if somebody wants to know.
    fn trace(&self, answers: Result<&[Answer], &ApiError>) {
        let (Some(traces), Some(body)) = (&self.app.traces, &self.body) else {
            return;
        };
        let traced = Traced {
            model: &self.model,
            tenant: self.tenant,
            path: self.dialect.path(),
            body,
            prepared: &self.prepared,
            way: self.way,
            answers,
        };
        if let Err(error) = tokio::task::block_in_place(|| traces.write(&traced)) {
            self.app.log.line(&format!("cannot write a trace: {error}"));
        }
    }

    /// So that the next request can repeat it token by token.
    fn remember(&self, answer: &Answer) {
        let is_whole = match answer.end {
            Some(End::Stop | End::Length) => true,
            Some(End::Calls) => !self.ask.is_one_call,
            _ => false,
        };
        let Some(before) = self.prepared.path(self.way).place.filter(|_| is_whole) else {
            return;
        };
        let call = |call: &crate::answer::Call| ds4_prompt::chat::ToolCall {
            id: Some(call.id.clone()),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        };
        let said = Said {
            begin: self.ask.begin(),
            ids: answer.tokens.clone(),
            thought: answer.thought.clone(),
            text: answer.text.clone(),
            calls: answer.calls.iter().map(call).collect(),
            signature: Some(answer.signature.clone()),
            before,
        };
        self.app.remember(self.tenant, said);
    }
}

/// How often progress is told.
const BETWEEN_PROGRESS: Duration = Duration::from_secs(1);

fn progress(answers: &[Answer]) -> Option<(u32, u32)> {
    let last = answers.last()?;
    let progress = last.progress.filter(|_| last.tokens.is_empty())?;
    Some((progress.done, progress.total))
}
