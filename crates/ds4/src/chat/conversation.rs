//! A conversation: what was said, and the tokens a session has computed of it.
//!
//! While a conversation lives, the next prompt is the tokens so far, exactly as they were read and
//! written, and the new turn after them: nothing is computed twice, and thoughts of earlier turns
//! stay where they are. Whenever the beginning changes, or the conversation was read from a file,
//! it is rendered anew by the official rules, which drop those thoughts.

use anyhow::{Context, Result};
use ds4_engine::{Request, Sampling};
use ds4_prompt::chat::{Answer, Instructions, Message, Settings, render, render_after};
use ds4_prompt::dsml::{Begin, Reading, Tools};
use ds4_prompt::{AddedTokens, Generation, Special, Thinking, TokenId, Tokenizer};

use crate::screen::{End, Spoken};

/// What was said so far.
pub(crate) struct Conversation {
    settings: Settings,
    messages: Vec<Message>,
    /// What a session has of it, up to the end of the last answer; nothing before the first one.
    live: Option<Live>,
}

/// The tokens of a conversation that goes on.
struct Live {
    tokens: Vec<u32>,
    /// What stood before the system text: another effort needs another beginning.
    beginning: &'static str,
}

/// A prompt, and how its answer is to be read.
pub(crate) struct Asked {
    /// The tokens.
    pub(crate) ids: Vec<u32>,
    /// Where it is worth being able to resume.
    cuts: Vec<u32>,
    reading: Reading,
    /// How many of the tokens the session should have already.
    pub(crate) known: usize,
}

impl Asked {
    /// Text to be continued as it is.
    pub(crate) fn raw(ids: Vec<u32>) -> Self {
        let begin = Begin::Text;
        Self::new(ids, Vec::new(), begin, 0)
    }

    fn new(ids: Vec<u32>, cuts: Vec<u32>, begin: Begin, known: usize) -> Self {
        let reading = Reading {
            begin,
            // There are no tools here: whatever looks like a call is text.
            tools: Tools::Inactive,
            ..Reading::default()
        };
        Self {
            ids,
            cuts,
            reading,
            known,
        }
    }

    /// A request for the answer, which nothing but its length ends yet.
    pub(crate) fn request(self, most: u32, sampling: Sampling) -> Request {
        Request {
            cuts: self.cuts,
            reading: Some(self.reading),
            ..Request::tokens(self.ids, most, sampling)
        }
    }
}

impl Conversation {
    /// Nothing was said.
    pub(crate) fn new(generation: Generation, thinking: Thinking) -> Self {
        Self {
            settings: Settings::new(generation, thinking),
            messages: Vec::new(),
            live: None,
        }
    }

    /// Everything that was said.
    pub(crate) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// How many questions were answered.
    pub(crate) fn turns(&self) -> usize {
        let answers = |message: &&Message| matches!(message, Message::Assistant(_));
        self.messages.iter().filter(answers).count()
    }

    /// Whether the model reasons first.
    pub(crate) fn thinking(&self) -> Thinking {
        self.settings.thinking
    }

    /// From the next question on the model reasons like this.
    pub(crate) fn set_thinking(&mut self, thinking: Thinking) {
        self.settings.thinking = thinking;
    }

    /// Goes on from what was said elsewhere.
    pub(crate) fn replace(&mut self, messages: Vec<Message>) {
        self.messages = messages;
        self.live = None;
    }

    /// Forgets everything but the system text.
    pub(crate) fn forget(&mut self) {
        let is_system = |message: &Message| matches!(message, Message::System(_));
        self.messages.retain(is_system);
        self.live = None;
    }

    /// Sets the system text; an empty one takes it away.
    pub(crate) fn set_system(&mut self, text: &str) {
        self.messages
            .retain(|message| !matches!(message, Message::System(_)));
        if !text.is_empty() {
            let instructions = Instructions {
                content: text.into(),
                ..Instructions::default()
            };
            self.messages.insert(0, Message::System(instructions));
        }
        self.live = None;
    }

    /// Asks something: the prompt of the whole conversation.
    pub(crate) fn ask(&mut self, question: &str, tokenizer: &Tokenizer) -> Result<Asked> {
        let settings = &self.settings;
        let question = Message::User {
            content: question.into(),
            task: None,
        };
        let live = self.live.as_ref();
        let live = live.filter(|live| live.beginning == beginning(settings));
        let new = match live {
            Some(_) => render_after(&self.messages, std::slice::from_ref(&question), settings),
            None => {
                let all: Vec<Message> = self
                    .messages
                    .iter()
                    .cloned()
                    .chain([question.clone()])
                    .collect();
                render(&all, settings)
            }
        };
        let new = new
            .context("cannot ask that")?
            .encode(tokenizer, AddedTokens::AsText);
        let mut ids = live.map(|live| live.tokens.clone()).unwrap_or_default();
        let known = ids.len();
        let cuts = new.cuts.iter().map(|cut| (known + cut.at) as u32).collect();
        ids.extend(new.ids.iter().map(|&TokenId(id)| id));
        let begin = match settings.thinking {
            Thinking::Off => Begin::Text,
            Thinking::On(_) => Begin::Reasoning,
        };
        self.messages.push(question);
        Ok(Asked::new(ids, cuts, begin, known))
    }

    /// The answer to what was asked with `prompt`.
    pub(crate) fn answered(&mut self, prompt: Vec<u32>, spoken: &Spoken, tokenizer: &Tokenizer) {
        let mut tokens = prompt;
        tokens.extend(&spoken.tokens);
        // A turn that was stopped ends like any other, so that the next one can follow.
        let id = |special| tokenizer.special(special).map(|TokenId(id)| id);
        let closes = id(Special::ThinkEnd);
        let in_thought = spoken.end != End::Stop
            && self.settings.thinking.is_on()
            && !closes.is_some_and(|close| spoken.tokens.contains(&close));
        if in_thought {
            tokens.extend(closes);
        }
        tokens.extend(id(Special::Eos));
        self.live = Some(Live {
            tokens,
            beginning: beginning(&self.settings),
        });
        self.messages.push(Message::Assistant(Answer {
            content: spoken.text.as_str().into(),
            reasoning: spoken.thoughts.clone(),
            ..Answer::default()
        }));
    }

    /// There will be no answer to the last question: it was never asked.
    pub(crate) fn unanswered(&mut self) {
        if matches!(self.messages.last(), Some(Message::User { .. })) {
            self.messages.pop();
        }
    }
}

/// What stands between BOS and the system text.
fn beginning(settings: &Settings) -> &'static str {
    match settings.thinking {
        Thinking::Off => "",
        Thinking::On(effort) => settings.generation.effort_text(effort),
    }
}
