//! How remembered turns get into a prompt: as they were sampled.
//!
//! Without tools a question drops the reasoning of the turns before it: their openers say
//! `</think>` where the session's memory holds `<think>` and what was thought. Such a prompt parts
//! from what is computed at the first thought. So there is a second one, [`Alias`]: the same
//! conversation with the thoughts left where they are. It is for whoever finds it computed; where
//! it leaves more to read than the other, the other is the one the model was trained on.

use std::sync::Arc;

use ds4_prompt::chat::{Answer, Ending, Message};
use ds4_prompt::dsml::Begin;
use ds4_prompt::{CutKind, Special, TokenCut, TokenId, Tokenizer, Tokens};

use crate::memory::{Memory, says_the_same};
use crate::replay::{Place, Said, Trail};

/// How many turns are tried as the first that kept its reasoning. A conversation that was read anew
/// dropped what was thought until then; more than a few of those in a row leave nothing to find.
const TRIES: usize = 4;

/// A prompt, and the other one that goes on from the thoughts.
pub(crate) struct Restored {
    pub(crate) tokens: Tokens,
    pub(crate) alias: Option<Alias>,
}

/// The same conversation with the thoughts of earlier turns.
pub(crate) struct Alias {
    pub(crate) tokens: Tokens,
    /// With so many of its tokens computed, nothing but what is new is left.
    pub(crate) live: usize,
}

/// A prompt cut into turns, with what is known of them.
pub(crate) struct Rendered<'a> {
    pub(crate) tokens: Tokens,
    pub(crate) messages: &'a [Message],
    /// For each assistant message, the turn it repeats, where that is known already.
    pub(crate) found: &'a [Option<Arc<Said>>],
}

/// One reading of a conversation.
#[derive(Default)]
struct Walk {
    out: Tokens,
    /// Turns that dropped a reasoning which was sampled right here, by their number.
    dropped: Vec<usize>,
    /// The end of the last turn that keeps a reasoning the prompt has not.
    live: usize,
    /// A turn of which it keeps the reasoning is not known.
    is_lost: bool,
}

impl Rendered<'_> {
    /// Puts in what `memory` knows; with `has_alias`, in both ways.
    pub(crate) fn restore(
        &self,
        memory: Memory<'_>,
        tokenizer: &Tokenizer,
        has_alias: bool,
    ) -> Restored {
        let plain = self.walk(memory, tokenizer, usize::MAX);
        let latest = plain.dropped.iter().rev().take(TRIES);
        let mut walks = latest.map(|&from| self.walk(memory, tokenizer, from));
        let walk = match has_alias {
            true => walks.find(|walk| !walk.is_lost),
            false => None,
        };
        Restored {
            tokens: plain.out,
            alias: walk.map(|walk| Alias {
                tokens: walk.out,
                live: walk.live,
            }),
        }
    }

    /// The prompt in which turns from this one on keep their reasoning.
    fn walk(&self, memory: Memory<'_>, tokenizer: &Tokenizer, keep_from: usize) -> Walk {
        let mut answers = self.answers();
        let (mut walk, mut trail) = (Walk::default(), Trail::default());
        let (mut from, mut asked, mut turn) = (0, None, 0);
        for TokenCut { at, kind } in self.tokens.cuts.iter().copied() {
            let part = &self.tokens.ids[from..at];
            let place = asked.take();
            match kind {
                CutKind::Assistant => {
                    let known = answers.next();
                    if let (Some(place), Some((answer, found))) = (place, known) {
                        let opened = Opened::of(part, tokenizer);
                        let said = self.said(memory, place, answer, found.as_ref());
                        walk.turn(part, opened, said.as_deref(), place, turn, keep_from);
                    } else {
                        walk.out.ids.extend_from_slice(part);
                    }
                    turn += 1;
                    if walk.is_lost {
                        return walk;
                    }
                }
                _ => walk.out.ids.extend_from_slice(part),
            }
            from = at;
            let at = walk.out.ids.len();
            if kind == CutKind::User {
                asked = Some(trail.up_to(&walk.out.ids, at));
            }
            walk.out.cuts.push(TokenCut { at, kind });
        }
        walk.out.ids.extend_from_slice(&self.tokens.ids[from..]);
        walk
    }

    /// Assistant messages, with the turns they repeat.
    fn answers(&self) -> impl Iterator<Item = (&Answer, &Option<Arc<Said>>)> {
        let answers = self.messages.iter().filter_map(|message| match message {
            Message::Assistant(answer) => Some(answer),
            _ => None,
        });
        answers.zip(self.found)
    }

    /// The turn that an answer repeats.
    fn said(
        &self,
        memory: Memory<'_>,
        place: Place,
        answer: &Answer,
        found: Option<&Arc<Said>>,
    ) -> Option<Arc<Said>> {
        if answer.ending == Ending::Open {
            return None;
        }
        let by_place = || {
            let said = memory.at(place)?;
            says_the_same(&said, answer).then_some(said)
        };
        found.cloned().or_else(by_place)
    }
}

impl Walk {
    /// Adds a turn.
    fn turn(
        &mut self,
        part: &[TokenId],
        opened: Option<Opened>,
        said: Option<&Said>,
        place: Place,
        turn: usize,
        keep_from: usize,
    ) {
        let opened = match (opened, said) {
            (Some(opened), Some(said)) if opened.begin == said.begin => {
                return self.put(opened.with(said.begin), said, part);
            }
            (Some(opened), _) => opened,
            (None, _) => return self.out.ids.extend_from_slice(part),
        };
        // What was sampled elsewhere is in nobody's memory here.
        let here = said.filter(|said| said.before == place && said.begin == Begin::Reasoning);
        match here.filter(|_| opened.begin == Begin::Text) {
            Some(said) if turn >= keep_from => {
                self.put(opened.with(Begin::Reasoning), said, part);
                // The last token that was sampled may never have been computed.
                self.live = self.out.ids.len().saturating_sub(2);
            }
            Some(_) => {
                self.dropped.push(turn);
                self.out.ids.extend_from_slice(part);
            }
            None => {
                self.is_lost |= turn >= keep_from;
                self.out.ids.extend_from_slice(part);
            }
        }
    }

    /// The opening, the tokens, and the end of the turn.
    fn put(&mut self, opening: [TokenId; 2], said: &Said, part: &[TokenId]) {
        self.out.ids.extend(opening);
        self.out.ids.extend_from_slice(&said.ids);
        self.out.ids.extend(part.last());
    }
}

/// How an assistant's part of a prompt opens.
#[derive(Clone, Copy)]
struct Opened {
    begin: Begin,
    assistant: TokenId,
    thinks: TokenId,
    thought: TokenId,
}

impl Opened {
    /// None if it is not an opening, an answer, and EOS.
    fn of(part: &[TokenId], tokenizer: &Tokenizer) -> Option<Self> {
        let special = |special| tokenizer.special(special);
        let assistant = special(Special::Assistant)?;
        let thinks = special(Special::ThinkBegin)?;
        let thought = special(Special::ThinkEnd)?;
        let is_whole = part.len() >= 3
            && part[0] == assistant
            && part.last().copied() == special(Special::Eos);
        let begin = match part.get(1)? {
            id if *id == thinks => Begin::Reasoning,
            id if *id == thought => Begin::Text,
            _ => return None,
        };
        is_whole.then_some(Self {
            begin,
            assistant,
            thinks,
            thought,
        })
    }

    /// The opening of a turn that begins so.
    fn with(self, begin: Begin) -> [TokenId; 2] {
        match begin {
            Begin::Reasoning => [self.assistant, self.thinks],
            Begin::Text => [self.assistant, self.thought],
        }
    }
}
