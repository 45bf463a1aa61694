//! A generation on the engine thread: from a queued request to its last token.

use std::sync::Arc;
use std::time::Instant;

use ds4_prompt::dsml::{NextByte, Reader};
use ds4_prompt::{TokenId, Tokenizer};

use crate::error::EngineError;
use crate::generation::{Finish, FinishReason, Message, Progress, Score, Usage};
use crate::outlet::Outlet;
use crate::pages::Promise;
use crate::request::{Grammar, Request, Scoring, Structure};
use crate::sampling::{Logprob, Mode, Sampler, TokenMask};
use crate::timeline::Timeline;

/// How far a generation is.
#[derive(Debug)]
pub(super) enum Stage {
    /// In line, with its prompt.
    Waiting(Vec<u32>),
    /// Admitted: its tokens are in the timeline, its pages promised.
    Running(Promise),
}

pub(super) struct Run {
    /// Place in line.
    pub(super) order: u64,
    pub(super) stage: Stage,
    pub(super) outlet: Outlet,
    /// Tokens of the prompt.
    pub(super) prompt: u32,
    cuts: Vec<u32>,
    max_tokens: u32,
    sampler: Sampler,
    grammar: Option<(Box<dyn Grammar>, TokenMask)>,
    /// Follows the text only to know where it is; the pieces are made by the receiver.
    reader: Option<Reader>,
    structure: Structure,
    stop_tokens: Vec<u32>,
    scoring: Scoring,
    tokenizer: Option<Arc<Tokenizer>>,
    usage: Usage,
    submitted: Instant,
    admitted: Option<Instant>,
    first_token: Option<Instant>,
}

impl Run {
    /// A request joins the line. `context` bounds prompt and answer together and was checked
    /// against the prompt.
    pub(super) fn new(
        order: u64,
        request: Request,
        outlet: Outlet,
        (vocab, context): (usize, usize),
        tokenizer: Option<Arc<Tokenizer>>,
    ) -> Self {
        let prompt = request.prompt.len() as u32;
        let max_tokens = request.max_tokens.min(context as u32 - prompt);
        Self {
            order,
            sampler: Sampler::new(request.sampling, vocab, max_tokens as usize),
            grammar: request.grammar.map(|g| (g, TokenMask::none(vocab))),
            reader: request.reading.as_ref().map(Reader::new),
            structure: request.structure,
            stop_tokens: request.stop_tokens,
            scoring: request.scoring,
            cuts: request.cuts,
            stage: Stage::Waiting(request.prompt),
            outlet,
            prompt,
            max_tokens,
            tokenizer,
            usage: Usage {
                prompt_tokens: prompt,
                ..Usage::default()
            },
            submitted: Instant::now(),
            admitted: None,
            first_token: None,
        }
    }

    /// Positions that may come to be computed: the last token generated never is.
    pub(super) fn end(&self) -> u32 {
        self.prompt + self.max_tokens.max(1) - 1
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }

    /// Can rows of it be computed now?
    pub(super) fn is_ready(&self) -> bool {
        !self.is_waiting() && self.outlet.is_open()
    }

    pub(super) fn is_scoring(&self) -> bool {
        self.scoring != Scoring::Off
    }

    /// The prompt of a generation in line that may begin with what others computed.
    pub(super) fn prompt_in_line(&self) -> Option<&[u32]> {
        match (&self.stage, self.scoring) {
            (Stage::Waiting(prompt), Scoring::Off) => Some(prompt),
            _ => None,
        }
    }

    /// How much of what is computed may be reused.
    pub(super) fn reusable(&self, timeline: &Timeline) -> u32 {
        match (&self.stage, self.scoring) {
            (Stage::Waiting(prompt), Scoring::Off) => {
                // At least one token must be computed, for its logits.
                timeline.shared_with(prompt).min(self.prompt - 1)
            }
            _ => 0,
        }
    }

    /// Leaves the line. The timeline holds `cached` tokens of the prompt and takes the rest.
    pub(super) fn admit(&mut self, promise: Promise, timeline: &mut Timeline) {
        let stage = std::mem::replace(&mut self.stage, Stage::Running(promise));
        let Stage::Waiting(prompt) = stage else {
            return;
        };
        let cached = timeline.computed();
        timeline.reserve(self.end() as usize + 1);
        timeline.extend(&prompt[cached as usize..]);
        let now = Instant::now();
        self.usage.cached_tokens = cached;
        self.usage.waited = now - self.submitted;
        self.admitted = Some(now);
    }

    /// Cuts of its prompt that come after `computed`.
    pub(super) fn cuts_after(&self, computed: u32) -> impl Iterator<Item = u32> {
        let next = self.cuts.partition_point(|&cut| cut <= computed);
        let cuts = self.cuts[next..].iter().copied();
        cuts.take_while(|&cut| cut <= self.prompt)
    }

    /// Rows until the next cut after `computed`.
    pub(super) fn to_next_cut(&self, computed: u32) -> u32 {
        let next = self.cuts_after(computed).next();
        next.map_or(u32::MAX, |cut| cut - computed)
    }

    pub(super) fn is_cut(&self, at: u32) -> bool {
        self.cuts.binary_search(&at).is_ok()
    }

    /// Takes the logits that a step gave for the rows just computed. Says why, if this was the last
    /// step.
    pub(super) fn take(
        &mut self,
        timeline: &mut Timeline,
        rows: u32,
        logits: &[f32],
        vocab: usize,
    ) -> Option<FinishReason> {
        let computed = timeline.computed();
        if computed <= self.prompt {
            self.outlet.send(Message::Progress(Progress {
                done: computed,
                total: self.prompt,
            }));
        }
        if let Scoring::Prompt { top } = self.scoring {
            self.score(timeline, computed - rows, logits.chunks_exact(vocab), top);
        }
        if !timeline.pending().is_empty() {
            return None;
        }
        if self.max_tokens == 0 {
            return Some(FinishReason::Length);
        }
        let last = logits.len().checked_sub(vocab)?;
        match self.choose(&logits[last..], timeline) {
            Ok(end) => end,
            Err(error) => Some(FinishReason::Error(error)),
        }
    }

    /// Chooses and sends the next token.
    fn choose(
        &mut self,
        logits: &[f32],
        timeline: &mut Timeline,
    ) -> Result<Option<FinishReason>, EngineError> {
        let mode = match (self.structure, &self.reader) {
            (Structure::Greedy, Some(reader)) if reader.next_byte() == NextByte::Structure => {
                Mode::Structure
            }
            _ => Mode::Free,
        };
        let mask = self.grammar.as_mut().map(|(grammar, mask)| {
            mask.clear();
            grammar.allow(mask);
            &*mask
        });
        let choice = self.sampler.sample(logits, mask, mode)?;
        self.first_token.get_or_insert_with(Instant::now);
        self.usage.generated_tokens += 1;
        if self.stop_tokens.contains(&choice.token) {
            return Ok(Some(FinishReason::Stop));
        }
        if let Some((grammar, _)) = &mut self.grammar {
            grammar.accept(choice.token);
        }
        let is_done = match (&mut self.reader, &self.tokenizer) {
            (Some(reader), Some(tokenizer)) => {
                reader.push(tokenizer.token_bytes(TokenId(choice.token)), &mut |_| {});
                reader.is_done()
            }
            _ => false,
        };
        self.outlet.send(Message::Token(choice));
        if is_done {
            return Ok(Some(FinishReason::Stop));
        }
        if self.usage.generated_tokens == self.max_tokens {
            return Ok(Some(FinishReason::Length));
        }
        timeline.extend(&[choice.token]);
        Ok(None)
    }

    /// Scores the tokens that follow the rows from `first` on.
    fn score<'l>(
        &mut self,
        timeline: &Timeline,
        first: u32,
        logits: impl Iterator<Item = &'l [f32]>,
        top: u8,
    ) {
        let followers = (first + 1..self.prompt).zip(&timeline.tokens()[first as usize + 1..]);
        for ((at, &token), logits) in followers.zip(logits) {
            let (logprob, top) = self.sampler.score(logits, token, top.into());
            let token = Logprob { token, logprob };
            self.outlet.send(Message::Score(Score { at, token, top }));
        }
    }

    /// Says goodbye. The stream and what was promised are left to be given back.
    pub(super) fn finish(mut self, reason: FinishReason) -> (Outlet, Option<Promise>) {
        let now = Instant::now();
        let mut usage = self.usage;
        match (self.admitted, self.first_token) {
            (None, _) => usage.waited = now - self.submitted,
            (Some(admitted), None) => usage.prefill = now - admitted,
            (Some(admitted), Some(first)) => {
                usage.prefill = first - admitted;
                usage.decode = now - first;
            }
        }
        self.outlet.send(Message::Finish(Finish { reason, usage }));
        let promise = match self.stage {
            Stage::Running(promise) => Some(promise),
            Stage::Waiting(_) => None,
        };
        (self.outlet, promise)
    }
}
