//! What is read: a text, or tokens that mean nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ds4_engine::sampling::Draws;
use ds4_prompt::chat::{Instructions, Message, Settings, render};
use ds4_prompt::{AddedTokens, Generation, Thinking, TokenId};

use super::subject::Subject;
use crate::{loading, scoring};

/// Where the prompt comes from.
#[derive(Debug, clap::Args)]
pub(super) struct PromptArgs {
    /// Read this text. Without one, tokens are drawn at random.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Read this text as a user's message, to be answered without thinking.
    #[arg(long, value_name = "FILE", conflicts_with = "prompt_file")]
    chat_prompt_file: Option<PathBuf>,
    /// What the model is told before that message.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "chat_prompt_file",
        default_value = "You are a helpful assistant."
    )]
    system: String,
}

impl PromptArgs {
    /// Exactly `count` tokens, and where they come from.
    pub(super) fn tokens(
        &self,
        subject: &Subject,
        count: usize,
        seed: u64,
    ) -> Result<(Vec<u32>, String)> {
        let Some(path) = self.chat_prompt_file.as_ref().or(self.prompt_file.as_ref()) else {
            let vocab = subject.shape.vocab as u64;
            let mut draws = Draws::new(seed);
            let tokens = (0..count).map(|_| (draws.bits() % vocab) as u32);
            return Ok((tokens.collect(), "random tokens".into()));
        };
        let ids = self.read(path, subject)?;
        let mut tokens: Vec<u32> = ids.into_iter().map(|TokenId(id)| id).collect();
        let shown = path.display();
        if tokens.len() < count {
            let has = tokens.len();
            bail!(
                "{shown} has {has} tokens; --ctx-max wants {count}: a longer text, or less of it"
            );
        }
        tokens.truncate(count);
        Ok((tokens, format!("tokens of {shown}")))
    }

    fn read(&self, path: &Path, subject: &Subject) -> Result<Vec<TokenId>> {
        let file = &subject.file;
        let tokenizer = loading::tokenizer(file)?;
        let text = scoring::read_text(Some(path))?;
        if self.chat_prompt_file.is_none() {
            return Ok(tokenizer.encode(&text));
        }
        let generation = Generation::of_model_name(&loading::name(file)).unwrap_or_default();
        let messages = [
            Message::System(Instructions {
                content: self.system.as_str().into(),
                ..Instructions::default()
            }),
            Message::User {
                content: text.into(),
                task: None,
            },
        ];
        let settings = Settings::new(generation, Thinking::Off);
        let prompt = render(&messages, &settings).context("cannot ask that")?;
        Ok(prompt.encode(&tokenizer, AddedTokens::AsText).ids)
    }
}
