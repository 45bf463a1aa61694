//! The chat: a prompt, answers, and a conversation that goes on.

mod commands;
mod conversation;
mod editor;
pub(crate) mod transcript;

use std::path::Path;

use anyhow::{Context, Error, Result};
use ds4_engine::{EngineError, Request, RequestError, Session, Tenant, end_of_turn};
use ds4_gguf::Gguf;
use ds4_prompt::Thinking;

use self::commands::Command;
pub(crate) use self::conversation::{Asked, Conversation};
use self::editor::{Editor, Line};
use crate::interrupts::Interrupts;
use crate::loading::{Model, ModelArgs, Wants};
use crate::screen::{self, End, Show};
use crate::speech::{self, SpeechArgs};
use crate::units::{Bytes, grouped};
use crate::{manners, scoring};

/// What a chat is begun with.
pub(crate) struct Setup<'a> {
    /// How the model speaks.
    pub(crate) speech: &'a SpeechArgs,
    /// How it is loaded, should that be done again.
    pub(crate) model_args: &'a ModelArgs,
    /// Its file.
    pub(crate) file: &'a Gguf,
    /// Whether typed lines are kept.
    pub(crate) keeps_history: bool,
    /// Where the draws of the first answer begin.
    pub(crate) seed: u64,
}

/// A chat until somebody leaves it.
pub(crate) fn run(
    setup: Setup<'_>,
    model: Model,
    conversation: Conversation,
    interrupts: &Interrupts,
) -> Result<()> {
    let mut editor = Editor::new(setup.keeps_history)?;
    let mut chat = Chat {
        session: Some(model.engine.resume(Tenant::default(), &[])?),
        seed: setup.seed,
        setup,
        model,
        conversation,
        interrupts,
    };
    chat.greet()?;
    let mut leaving = false;
    loop {
        match editor.read()? {
            Line::End => return Ok(()),
            Line::Interrupt if leaving => return Ok(()),
            Line::Interrupt => {
                tell("Ctrl-C again, Ctrl-D or /quit leaves")?;
                leaving = true;
                continue;
            }
            Line::Text(text) => {
                if chat.take(&text)? == Next::Leave {
                    return Ok(());
                }
            }
        }
        leaving = false;
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Line,
    Leave,
}

struct Chat<'a> {
    setup: Setup<'a>,
    model: Model,
    /// There is always one but while the engine is changed.
    session: Option<Session>,
    conversation: Conversation,
    interrupts: &'a Interrupts,
    /// Where the draws of the next answer begin.
    seed: u64,
}

impl Chat<'_> {
    fn greet(&self) -> Result<()> {
        let name = match self.model.name.as_str() {
            "" => &self.model.file,
            name => name,
        };
        let context = grouped(self.model.engine.context() as u64);
        let thinking = speech::level(self.conversation.thinking());
        tell(&format!(
            "{name}: {context} tokens of context, thinking {thinking}. /help lists the commands."
        ))
    }

    /// What was typed. An error is said and the chat goes on, unless the engine is gone.
    fn take(&mut self, text: &str) -> Result<Next> {
        let done = match text {
            "" => Ok(Next::Line),
            text if text.starts_with('/') => match commands::parse(text) {
                Ok(command) => self.obey(command),
                Err(mistake) => Err(mistake.into()),
            },
            question => self.ask(question).map(|()| Next::Line),
        };
        match done {
            Err(error) if self.session.is_none() || is_fatal(&error) => Err(error),
            Err(error) => {
                manners::explain(&error, &mut anstream::stderr().lock());
                Ok(Next::Line)
            }
            next => next,
        }
    }

    fn ask(&mut self, question: &str) -> Result<()> {
        let (asked, sampling) = (
            self.conversation.ask(question, &self.model.tokenizer)?,
            self.setup.speech.sampling(self.seed)?,
        );
        self.seed = self.seed.wrapping_add(1);
        let (prompt, known) = (asked.ids.clone(), asked.known);
        let context = self.model.engine.context() as u32;
        let most = self.setup.speech.tokens.unwrap_or(context);
        let request = Request {
            stop_tokens: end_of_turn(&self.model.tokenizer),
            ..asked.request(most, sampling)
        };
        if known == 0 {
            // A conversation begins, or one that was saved goes on: perhaps it is known. Two
            // sessions would not fit where one fills the machine.
            self.session = None;
            self.session = Some(self.model.engine.resume(Tenant::default(), &prompt)?);
        }
        let stream = self.session().generate(request).map_err(Error::from);
        let spoken = stream
            .and_then(|stream| screen::follow(stream, Show::All, known, self.interrupts))
            .map_err(with_cure);
        // Ctrl-C stopped the answer; the next one is another one's.
        self.interrupts.obeyed();
        let spoken = match spoken {
            Ok(spoken) => spoken,
            Err(error) => {
                self.conversation.unanswered();
                return Err(error);
            }
        };
        if spoken.end == End::Interrupted && spoken.tokens.is_empty() {
            self.conversation.unanswered();
            return tell("stopped before the answer began; the question is forgotten");
        }
        let used = prompt.len() + spoken.tokens.len();
        self.conversation
            .answered(prompt, &spoken, &self.model.tokenizer);
        let share = 100 * used as u64 / u64::from(context);
        let figures = screen::figures(&spoken);
        screen::say_dimmed(&format!("{figures}; {share}% of the context"));
        Ok(())
    }

    fn obey(&mut self, command: Command) -> Result<Next> {
        match command {
            Command::Quit => return Ok(Next::Leave),
            Command::Help => manners::print(&commands::help())?,
            Command::Think(thinking) => self.think(thinking)?,
            Command::Context(None) => {
                let context = grouped(self.model.engine.context() as u64);
                tell(&format!("context: {context} tokens"))?;
            }
            Command::Context(Some(tokens)) => self.resize(tokens)?,
            Command::Read(path) => {
                let text = scoring::read_text(Some(&path))?;
                self.ask(&text)?;
            }
            Command::Status => self.status()?,
            Command::Save(path) => self.save(path.as_deref())?,
            Command::Load(path) => {
                self.conversation.replace(transcript::load(&path)?);
                let turns = self.conversation.turns();
                tell(&format!("{}: {turns} answers so far", path.display()))?;
            }
            Command::System(text) => {
                self.conversation.forget();
                self.conversation.set_system(&text);
                tell("begun anew")?;
            }
            Command::New => {
                self.conversation.forget();
                tell("begun anew")?;
            }
        }
        Ok(Next::Line)
    }

    fn think(&mut self, thinking: Thinking) -> Result<()> {
        let (thinking, lowered) = thinking.within(self.model.engine.context() as u64);
        if let Some(lowered) = lowered {
            tell(&lowered.to_string())?;
        }
        self.conversation.set_thinking(thinking);
        tell(&format!("thinking: {}", speech::level(thinking)))
    }

    /// Loads the model for another context. What is computed moves over.
    fn resize(&mut self, tokens: u32) -> Result<()> {
        let used = self.session().status()?.tokens.len();
        if used as u64 >= u64::from(tokens) {
            anyhow::bail!("the conversation has {used} tokens; /new begins another");
        }
        let most = self.model.engine.limits().context;
        if tokens as usize > most {
            anyhow::bail!("the model was trained for contexts of up to {most} tokens");
        }
        let kept = self.session().snapshot()?;
        // Two of them would not fit where one fills the machine.
        self.session = None;
        self.model.engine.shutdown();
        let args = self.setup.model_args.with_ctx(tokens);
        self.model = args
            .load_from(self.setup.file, Wants::NextToken)
            .context("cannot load the model again")?;
        self.session = Some(self.model.engine.restore(kept)?);
        tell(&format!("context: {} tokens", grouped(tokens.into())))
    }

    fn status(&self) -> Result<()> {
        let status = self.session().status()?;
        let held = Bytes(status.pages.own + status.pages.shared + status.frontier_bytes);
        let context = self.model.engine.context();
        let used = status.tokens.len();
        tell(&format!(
            "model     {} ({})\n\
             context   {} of {} tokens computed, {held}\n\
             answers   {}\n\
             thinking  {}\n\
             drawing   {}",
            self.model.name,
            self.model.file,
            grouped(used as u64),
            grouped(context as u64),
            self.conversation.turns(),
            speech::level(self.conversation.thinking()),
            self.setup.speech.drawing(),
        ))
    }

    fn save(&self, path: Option<&Path>) -> Result<()> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => transcript::new_path()?,
        };
        transcript::save(&path, &self.model.name, self.conversation.messages())?;
        tell(&format!(
            "saved to {}; ds4 run --load reads it",
            path.display()
        ))
    }

    fn session(&self) -> &Session {
        self.session
            .as_ref()
            .expect("there is a session whenever a line is obeyed")
    }
}

/// Says something that was asked for, where the answers go.
fn tell(line: &str) -> Result<()> {
    manners::print(&format!("{line}\n"))
}

/// A prompt that does not fit has a cure here.
fn with_cure(error: Error) -> Error {
    match error.downcast_ref() {
        Some(EngineError::Request(RequestError::Context { .. })) => manners::Hinted::failure(
            error.to_string(),
            "/ctx TOKENS enlarges the context, /new begins anew",
        ),
        _ => error,
    }
}

/// Nothing more can be asked.
fn is_fatal(error: &Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(EngineError::Stopped | EngineError::Machine(_))
    )
}
