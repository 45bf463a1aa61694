//! `ds4 run`: an answer to one question, or a chat.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ds4_engine::sampling::Report;
use ds4_engine::{Request, Sampling, SamplingFields, Tenant, end_of_turn};
use ds4_prompt::{TokenId, Tokenizer};
use serde_json::json;

use crate::chat::{self, Conversation};
use crate::interrupts::{self, Interrupted, Interrupts};
use crate::kv::TierArgs;
use crate::loading::{self, Model, ModelArgs, Wants};
use crate::manners::{self, Hinted};
use crate::screen::{self, End, Show, Spoken};
use crate::speech::{self, SpeechArgs};
use crate::{dump, scoring};

/// Answer one question, or chat: the answer goes to stdout as it is written, all else to stderr.
///
/// With -p, -f or a pipe one question is answered. On a terminal without them a chat begins; /help
/// says what can be done in it. The model thinks before it answers unless told not to; its thoughts
/// are dimmed and go to stderr. Ctrl-C ends the answer where it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The question.
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A file with the question, or with what it is about: its text follows that of -p. `-` is
    /// stdin.
    #[arg(short = 'f', long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Continue the text as it is, without turns.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    speech: SpeechArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    kv: TierArgs,
    /// Begin with a conversation that /save wrote.
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    load: Option<PathBuf>,
    /// Keep the lines typed in a chat for the next one, in a file that only you can read.
    #[arg(long, env = "DS4_HISTORY", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set,
        hide_possible_values = true)]
    history: bool,
    /// For programs: one JSON object with the answer, the thoughts and the figures, at the end.
    #[arg(long)]
    json: bool,
    /// Show the question as the tokens the model would read, and answer nothing.
    #[arg(long, conflicts_with_all = ["json", "dump_logprobs", "dump_logits"])]
    dump_tokens: bool,
    /// Write the logits of every token that could follow the question to a JSON file, and answer
    /// nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "dump_logprobs"])]
    dump_logits: Option<PathBuf>,
    /// Answer with the likeliest tokens and write each one's alternatives to a JSON file.
    #[arg(long, value_name = "FILE")]
    dump_logprobs: Option<PathBuf>,
    /// How many alternatives.
    #[arg(long, value_name = "N", default_value_t = 20, requires = "dump_logprobs",
        value_parser = clap::value_parser!(u8).range(1..=20))]
    logprobs_top_k: u8,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let seed = args.speech.seed();
    // Refused before anything is loaded.
    let sampling = args.speech.sampling(seed)?;
    let question = args.question()?;
    if args.dump_tokens {
        let question = question.unwrap_or_default();
        return args.dump_tokens(&question);
    }
    let interrupts = interrupts::catch()?;
    if let Some(path) = &args.dump_logits {
        let question = question.unwrap_or_default();
        return args.dump_logits(path, &question, &interrupts);
    }
    let file = args.model.open()?;
    let model_args = args.model.with_tiers(&args.kv);
    let model = model_args.load_from(&file, Wants::NextToken)?;
    let Some(question) = question else {
        speech::check_chat(&model.tokenizer)?;
        let conversation = args.conversation(&model.name)?;
        let setup = chat::Setup {
            speech: &args.speech,
            model_args: &model_args,
            file: &file,
            keeps_history: args.history,
            seed,
        };
        return chat::run(setup, model, conversation, &interrupts);
    };
    args.answer(&model, &question, sampling, seed, &interrupts)
}

impl Args {
    /// What is asked: nothing for a chat.
    fn question(&self) -> Result<Option<String>> {
        let file = match &self.prompt_file {
            Some(path) if path == Path::new("-") => Some(scoring::read_text(None)?),
            Some(path) => Some(scoring::read_text(Some(path))?),
            None => None,
        };
        match (&self.prompt, file) {
            (Some(prompt), Some(file)) => Ok(Some(format!("{prompt}\n\n{file}"))),
            (Some(prompt), None) => Ok(Some(prompt.clone())),
            (None, Some(file)) => Ok(Some(file)),
            (None, None) if screen::is_interactive() => Ok(None),
            (None, None) => piped().map(Some),
        }
    }

    /// A conversation in which nothing was asked yet.
    fn conversation(&self, name: &str) -> Result<Conversation> {
        let generation = speech::generation(name);
        let (thinking, lowered) = self
            .speech
            .thinking(generation)
            .within(u64::from(self.model.ctx()));
        if let Some(lowered) = lowered {
            manners::say(&lowered.to_string());
        }
        let mut conversation = Conversation::new(generation, thinking);
        if let Some(path) = &self.load {
            conversation.replace(chat::transcript::load(path)?);
        }
        if let Some(system) = &self.speech.system {
            conversation.set_system(system);
        }
        Ok(conversation)
    }

    /// The question as the model was trained to read it, and what it was asked in.
    fn prompt(
        &self,
        tokenizer: &Tokenizer,
        name: &str,
        question: &str,
    ) -> Result<(chat::Asked, Conversation)> {
        let mut conversation = self.conversation(name)?;
        let asked = if self.raw {
            let mut ids = scoring::beginning(tokenizer);
            ids.extend(tokenizer.encode(question).iter().map(|&TokenId(id)| id));
            chat::Asked::raw(ids)
        } else {
            speech::check_chat(tokenizer)?;
            conversation.ask(question, tokenizer)?
        };
        Ok((asked, conversation))
    }

    fn answer(
        &self,
        model: &Model,
        question: &str,
        sampling: Sampling,
        seed: u64,
        interrupts: &Interrupts,
    ) -> Result<()> {
        let (asked, _) = self.prompt(&model.tokenizer, &model.name, question)?;
        let sampling = match &self.dump_logprobs {
            None => sampling,
            Some(_) => Sampling::new(SamplingFields {
                temperature: 0.0,
                report: Report::Logprobs(self.logprobs_top_k),
                ..SamplingFields::default()
            })?,
        };
        let prompt = asked.ids.len();
        let request = Request {
            stop_tokens: end_of_turn(&model.tokenizer),
            ..asked.request(self.speech.tokens.unwrap_or(self.model.ctx()), sampling)
        };
        let session = model.engine.resume(Tenant::default(), &request.prompt)?;
        let show = match self.json {
            true => Show::Nothing,
            false => Show::All,
        };
        let spoken = screen::follow(session.generate(request)?, show, 0, interrupts)?;
        if let Some(path) = &self.dump_logprobs {
            let (ctx, top) = (self.model.ctx(), self.logprobs_top_k);
            dump::logprobs(path, &model.tokenizer, &spoken.scores, (prompt, ctx, top))?;
        }
        if self.json {
            manners::print(&as_json(&spoken, seed))?;
        }
        screen::say_dimmed(&format!("{}; seed {seed}", screen::figures(&spoken)));
        match spoken.end {
            End::Interrupted => Err(Interrupted.into()),
            _ => Ok(()),
        }
    }

    /// The tokens of the question; no weights are read.
    fn dump_tokens(&self, question: &str) -> Result<()> {
        let file = self.model.open()?;
        let tokenizer = loading::tokenizer(&file)?;
        let (asked, _) = self.prompt(&tokenizer, &loading::name(&file), question)?;
        let ids: Vec<TokenId> = asked.ids.into_iter().map(TokenId).collect();
        manners::print(&crate::tokenize::as_lines(&tokenizer, &ids))
    }

    /// The logits of what could follow the question.
    fn dump_logits(&self, path: &Path, question: &str, interrupts: &Interrupts) -> Result<()> {
        let file = self.model.open()?;
        let tokenizer = loading::tokenizer(&file)?;
        let (asked, _) = self.prompt(&tokenizer, &loading::name(&file), question)?;
        let ids = &asked.ids;
        dump::logits(path, &self.model, &file, &tokenizer, ids, interrupts)
    }
}

/// The question in a pipe, or typed until Ctrl-D where the answer goes elsewhere.
fn piped() -> Result<String> {
    if io::stdin().is_terminal() {
        manners::say("reading the question from the terminal; Ctrl-D ends it");
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut bytes);
    read.context("cannot read stdin")?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Hinted::senseless(
            "no question: stdin is empty and is no terminal to chat on",
            "ask with -p TEXT, with -f FILE, or through a pipe; ds4 --help lists all verbs",
        ));
    }
    String::from_utf8(bytes).context("the question on stdin is not UTF-8")
}

fn as_json(spoken: &Spoken, seed: u64) -> String {
    let usage = spoken.usage;
    let object = json!({
        "answer": spoken.text,
        "thoughts": spoken.thoughts,
        "end": spoken.end.name(),
        "seed": seed,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "generated_tokens": usage.generated_tokens,
        "prefill_seconds": usage.prefill.as_secs_f64(),
        "decode_seconds": usage.decode.as_secs_f64(),
    });
    format!("{object}\n")
}
