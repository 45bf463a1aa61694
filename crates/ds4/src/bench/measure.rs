//! The measurement: a prompt read frontier by frontier, and tokens decoded at each.
//!
//! One session holds the context. At a frontier every measured session is a fork of it, so the
//! context is computed once, and each goes on with another token, so that sessions measured together
//! do not choose the same experts all the time.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ds4_engine::sampling::{Draws, Report as Wanted};
use ds4_engine::{
    Engine, FinishReason, Generation, Output, Request, Sampling, SamplingFields, Session, Usage,
};

use crate::interrupts::Interrupted;

/// How long Ctrl-C may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(100);
/// Tokens whose logits are looked at, at every frontier.
const LOOKED_AT: u32 = 8;

/// What is measured.
pub(super) struct Task<'a> {
    pub(super) engine: &'a Engine,
    /// Where there is something to say: how far it is, in words, and tokens done since the last
    /// time. True if it shall end.
    pub(super) progress: &'a (dyn Fn(&str, u32) -> bool + Sync),
    pub(super) tokens: &'a [u32],
    pub(super) contexts: &'a [u32],
    /// Fill contexts at random instead of reading them.
    pub(super) is_filled: bool,
    pub(super) sessions: &'a [u32],
    pub(super) generated: u32,
    pub(super) seed: u64,
}

/// What one run found at one context with one number of sessions.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) context: u32,
    pub(super) sessions: u32,
    pub(super) prefilled: u32,
    /// Tokens a second.
    pub(super) prefill: Option<f64>,
    /// Tokens a second of all sessions together.
    pub(super) decode: f64,
    /// What each session generated.
    pub(super) written: Vec<Vec<u32>>,
    pub(super) kv_bytes: u64,
}

impl Task<'_> {
    /// Reads and decodes a little, so that nothing that happens once is measured.
    pub(super) fn warm_up(&self) -> Result<()> {
        let session = self.engine.session()?;
        let prompt = self.tokens[..self.tokens.len().min(40)].to_vec();
        self.finish(session.generate(greedy(prompt, 3))?, |_| {})?;
        Ok(())
    }

    /// One run over all contexts; what is found goes to `found` at once.
    pub(super) fn run(&self, mut found: impl FnMut(Found) -> Result<()>) -> Result<()> {
        let mut session = self.engine.session()?;
        let mut before = 0;
        for &context in self.contexts {
            let mut prefill = None;
            if self.is_filled {
                // Given back before the next one needs the room.
                drop(session);
                (self.progress)(&format!("filling {context} tokens"), 0);
                let tokens = self.tokens[..context as usize].to_vec();
                session = self.engine.fill(tokens, self.seed)?;
                before = context;
            } else {
                prefill = Some(self.read(&session, before, context)?);
            }
            let prefilled = context - before;
            before = context;
            let kv_bytes = {
                let pages = session.status()?.pages;
                pages.own + pages.shared
            };
            for &sessions in self.sessions {
                let (decode, written) = self.decode(&session, context, sessions)?;
                found(Found {
                    context,
                    sessions,
                    prefilled,
                    prefill,
                    decode,
                    written,
                    kv_bytes,
                })?;
            }
        }
        Ok(())
    }

    /// Reads on to `context`; tokens a second.
    fn read(&self, session: &Session, before: u32, context: u32) -> Result<f64> {
        let prompt = self.tokens[..context as usize].to_vec();
        let request = Request {
            cuts: vec![context],
            ..greedy(prompt, 1)
        };
        let mut done = before;
        let usage = self.finish(session.generate(request)?, |output| {
            if let Output::Progress(progress) = output {
                let new = progress.done.saturating_sub(done);
                done = progress.done;
                (self.progress)(&format!("reading to {context}"), new);
            }
        })?;
        let read = usage.prompt_tokens - usage.cached_tokens;
        Ok(f64::from(read) / usage.prefill.as_secs_f64().max(1e-9))
    }

    /// Decodes in `count` sessions at once; tokens a second of all, and the tokens of each.
    fn decode(&self, base: &Session, context: u32, count: u32) -> Result<(f64, Vec<Vec<u32>>)> {
        let said = match count {
            1 => format!("decoding at {context}"),
            count => format!("decoding at {context}, {count} sessions"),
        };
        let forks = (0..count).map(|_| base.fork());
        let forks: Vec<Session> = forks.collect::<Result<_, _>>()?;
        let written = Mutex::new(Vec::new());
        let begin = |number: u32, session: &Session| {
            // Sessions may begin one step after the other: each writes on until the last one has
            // had its share in the company of all.
            let most = self.generated + count;
            let mut request = greedy(self.continued(context, number), most);
            // What the forks share is computed; the rest is one row.
            request.cuts.clear();
            session.generate(request)
        };
        let streams: Vec<Generation> = (0..count)
            .zip(&forks)
            .map(|(number, session)| begin(number, session))
            .collect::<Result<_, _>>()?;
        let follow = |number: usize, stream| {
            let (mut tokens, mut times) = (Vec::new(), Vec::new());
            let usage = self.finish(stream, |output| {
                if let Output::Token(token) = output {
                    times.push(Instant::now());
                    tokens.push(token.id);
                    (self.progress)(&said, 1);
                }
            })?;
            if usage.cached_tokens != context {
                let cached = usage.cached_tokens;
                bail!(
                    "a fork at {context} had only {cached} tokens: not a measurement of decoding"
                );
            }
            let mut all = written.lock().expect("no thread panics holding it");
            all.push((number, tokens, times));
            Ok(())
        };
        thread::scope(|scope| {
            let follow = &follow;
            let threads: Vec<_> = streams
                .into_iter()
                .enumerate()
                .map(|(number, stream)| scope.spawn(move || follow(number, stream)))
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })?;
        let mut all = written.into_inner().expect("no thread panics holding it");
        all.sort_by_key(|entry| entry.0);
        let rate = together(all.iter().map(|entry| &entry.2[..]));
        let written = |mut tokens: Vec<u32>| {
            tokens.truncate(self.generated as usize + 1);
            tokens
        };
        let tokens = all.into_iter().map(|entry| written(entry.1)).collect();
        Ok((rate, tokens))
    }

    /// Generates a few tokens with their log-probabilities: whether all are numbers, and the tokens.
    pub(super) fn look(&self) -> Result<(bool, Vec<u32>)> {
        let context = self.contexts[0];
        let session = match self.is_filled {
            true => {
                let tokens = self.tokens[..context as usize].to_vec();
                self.engine.fill(tokens, self.seed)?
            }
            false => self.engine.session()?,
        };
        let fields = SamplingFields {
            report: Wanted::Logprobs(20),
            ..Sampling::greedy().fields().clone()
        };
        let count = LOOKED_AT.min(self.generated + 1);
        let request = Request {
            sampling: Sampling::new(fields)?,
            ..greedy(self.continued(context, 0), count)
        };
        let (mut is_sound, mut tokens) = (true, Vec::new());
        self.finish(session.generate(request)?, |output| {
            if let Output::Token(token) = output {
                let top = token.top.as_slice().iter().map(|item| item.logprob);
                is_sound &= top.chain(token.logprob).all(f32::is_finite);
                tokens.push(token.id);
            }
        })?;
        Ok((is_sound, tokens))
    }

    /// The context, and the token that session `number` goes on with.
    fn continued(&self, context: u32, number: u32) -> Vec<u32> {
        let vocab = self.engine.limits().vocab as u64;
        let draw = Draws::new(self.seed ^ (u64::from(number) << 32)).bits();
        let mut prompt = self.tokens[..context as usize].to_vec();
        prompt.push((draw % vocab) as u32);
        prompt
    }

    /// Takes a stream to its end.
    fn finish(&self, mut stream: Generation, mut each: impl FnMut(Output)) -> Result<Usage> {
        loop {
            match stream.next_within(PATIENCE) {
                Ok(Some(Output::Finish(finish))) => {
                    return match finish.reason {
                        FinishReason::Error(error) => Err(error).context("cannot go on"),
                        FinishReason::Cancelled => Err(Interrupted.into()),
                        FinishReason::Stop | FinishReason::Length => Ok(finish.usage),
                    };
                }
                Ok(Some(output)) => each(output),
                Ok(None) => bail!("the engine ended without a word"),
                Err(_) => {}
            }
            if (self.progress)("", 0) {
                stream.cancel();
            }
        }
    }
}

fn greedy(prompt: Vec<u32>, most: u32) -> Request {
    Request::tokens(prompt, most, Sampling::greedy())
}

/// Tokens a second while all sessions were decoding: from the moment when the last one had its first
/// token to the moment when the first one had its last. On a busy machine one may be done before
/// another begins: then it is the time of them all.
fn together<'t>(times: impl Iterator<Item = &'t [Instant]> + Clone) -> f64 {
    let begins = || times.clone().filter_map(|times| times.first());
    let ends = || times.clone().filter_map(|times| times.last());
    let (begin, end) = match (begins().max(), ends().min()) {
        (Some(begin), Some(end)) if begin < end => (begin, end),
        _ => match (begins().min(), ends().max()) {
            (Some(begin), Some(end)) => (begin, end),
            _ => return 0.0,
        },
    };
    let within = |time: &&Instant| *time > begin && *time <= end;
    let count: usize = times.map(|times| times.iter().filter(within).count()).sum();
    let took = end.saturating_duration_since(*begin).as_secs_f64();
    count as f64 / took.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_that_all_sessions_share_counts() {
        let zero = Instant::now();
        let at = |seconds: &[u64]| -> Vec<Instant> {
            let time = |&seconds: &u64| zero + Duration::from_secs(seconds);
            seconds.iter().map(time).collect()
        };
        let alone = [at(&[1, 2, 3, 4, 5])];
        assert!((together(alone.iter().map(|t| &t[..])) - 1.0).abs() < 1e-9);
        // From 3 to 6: 4, 5, 6 of the first and 4, 6 of the second.
        let two = [at(&[1, 2, 3, 4, 5, 6]), at(&[3, 4, 6, 8])];
        let rate = together(two.iter().map(|t| &t[..]));
        assert!((rate - 5.0 / 3.0).abs() < 1e-9, "{rate}");
        assert!(together(std::iter::empty()).abs() < 1e-9);
        // No time is shared: 2, 3, 5, 6 and 7 of six seconds.
        let apart = [at(&[1, 2, 3]), at(&[5, 6, 7])];
        let rate = together(apart.iter().map(|t| &t[..]));
        assert!((rate - 5.0 / 6.0).abs() < 1e-9, "{rate}");
    }
}
