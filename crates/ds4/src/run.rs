//! `ds4 run`: an answer to one question.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use ds4_engine::{Finish, FinishReason, Output, Progress, Request, Sampling, SamplingFields};
use ds4_prompt::chat::{Instructions, Message, Settings, render};
use ds4_prompt::dsml::{Begin, Reading, Tools};
use ds4_prompt::{AddedTokens, Generation, Piece, Special, Thinking, TokenId};
use indicatif::{ProgressBar, ProgressStyle};

use crate::loading::{Model, ModelArgs, Wants};
use crate::manners::{self, Hinted};

/// Answer one question: the answer goes to stdout as it is written, all else to stderr.
///
/// The model thinks before it answers unless told not to; its thoughts go to stderr. Ctrl-C ends
/// the answer where it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The question.
    #[arg(short, long, value_name = "TEXT")]
    prompt: String,
    /// What the model is told before it.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Most tokens to write, thoughts included [default: what the context has room for].
    #[arg(short, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    n: Option<u32>,
    /// Think before answering, this hard: low, high or max.
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "high",
        value_parser = ["low", "high", "max"])]
    think: Option<String>,
    /// Answer at once.
    #[arg(long, conflicts_with = "think")]
    nothink: bool,
    /// How freely tokens are drawn; 0 always takes the likeliest.
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temp: f32,
    /// Draw from the likeliest tokens that hold this much of the mass.
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Draw from tokens at least this likely relative to the likeliest.
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    min_p: f32,
    /// Where the draws begin: the same seed gives the same answer [default: the clock].
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let seed = args.seed.unwrap_or_else(clock);
    let sampling = args.sampling(seed)?;
    let model = args.model.load(Wants::NextToken)?;
    let (request, notice) = args.request(&model, sampling)?;
    if let Some(notice) = notice {
        manners::say(&notice);
    }
    let interrupted = manners::catch_interrupts()?;
    let session = model.engine.session()?;
    let mut stream = session.generate(request)?;
    let mut screen = Screen::new();
    loop {
        if manners::is_interrupted(&interrupted) {
            stream.cancel();
        }
        match stream.next_within(PATIENCE) {
            Ok(Some(Output::Finish(finish))) => return screen.finish(finish, seed),
            Ok(Some(output)) => screen.show(output)?,
            Ok(None) => return Ok(()),
            // Nothing came: time to look at the flag again.
            Err(_) => {}
        }
    }
}

/// How long Ctrl-C may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(100);

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64 % 1_000_000_000)
}

impl Args {
    fn sampling(&self, seed: u64) -> Result<Sampling> {
        let fields = SamplingFields {
            temperature: self.temp,
            top_p: self.top_p,
            min_p: self.min_p,
            seed,
            ..SamplingFields::default()
        };
        Sampling::new(fields).context("cannot sample like that")
    }

    /// The question as the model was trained to read it, and what has to be said about it.
    fn request(&self, model: &Model, sampling: Sampling) -> Result<(Request, Option<String>)> {
        let tokenizer = &model.tokenizer;
        let known = |special| tokenizer.special(special).is_some();
        let needed = [
            Special::Bos,
            Special::Eos,
            Special::User,
            Special::Assistant,
        ];
        if let Some(missing) = needed.into_iter().find(|&special| !known(special)) {
            return Err(Hinted {
                message: format!("the vocabulary has no {}: not a chat model", missing.text()),
                hint: "ds4 logprobs and ds4 perplexity work with any text model",
            }
            .into());
        }
        let (thinking, lowered) = self.thinking(&model.name);
        let settings = Settings::new(generation(&model.name), thinking);
        let system = self.system.as_deref().map(|text| {
            Message::System(Instructions {
                content: text.into(),
                ..Instructions::default()
            })
        });
        let question = Message::User {
            content: self.prompt.as_str().into(),
            task: None,
        };
        let messages: Vec<Message> = system.into_iter().chain([question]).collect();
        let prompt = render(&messages, &settings).context("cannot ask that")?;
        let tokens = prompt.encode(tokenizer, AddedTokens::AsText);
        let reading = Reading {
            begin: match thinking {
                Thinking::Off => Begin::Text,
                Thinking::On(_) => Begin::Reasoning,
            },
            // There are no tools here: whatever looks like a call is text.
            tools: Tools::Inactive,
            ..Reading::default()
        };
        let ids: Vec<u32> = tokens.ids.into_iter().map(|TokenId(id)| id).collect();
        let most = self.n.unwrap_or(self.model.ctx());
        let request = Request::chat(ids, most, sampling, reading, tokenizer);
        Ok((request, lowered))
    }

    fn thinking(&self, name: &str) -> (Thinking, Option<String>) {
        if self.nothink {
            return (Thinking::Off, None);
        }
        let named = self.think.as_deref().and_then(Thinking::of_effort_name);
        let ordinary = Thinking::On(generation(name).ordinary_effort());
        let (thinking, lowered) = named
            .unwrap_or(ordinary)
            .within(u64::from(self.model.ctx()));
        (thinking, lowered.map(|lowered| lowered.to_string()))
    }
}

fn generation(name: &str) -> Generation {
    Generation::of_model_name(name).unwrap_or_default()
}

/// What the user sees: the answer on stdout, thoughts and progress on stderr.
struct Screen {
    bar: ProgressBar,
    /// Whether thoughts, and the answer, stand in the middle of a line.
    thinking: bool,
    answering: bool,
}

impl Screen {
    fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = "reading {wide_bar} {pos} of {len} tokens, {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        Self {
            bar,
            thinking: false,
            answering: false,
        }
    }

    fn show(&mut self, output: Output) -> Result<()> {
        match output {
            Output::Progress(Progress { done, total }) => {
                self.bar.set_length(total.into());
                self.bar.set_position(done.into());
                if done == total {
                    self.bar.finish_and_clear();
                }
                Ok(())
            }
            Output::Piece(Piece::Thought(text)) => {
                self.thinking = !text.ends_with('\n');
                write(&text, &mut io::stderr())
            }
            Output::Piece(Piece::Text(text)) => {
                self.end_thoughts()?;
                self.answering = !text.ends_with('\n');
                write(&text, &mut io::stdout())
            }
            _ => Ok(()),
        }
    }

    fn end_thoughts(&mut self) -> Result<()> {
        match std::mem::take(&mut self.thinking) {
            true => write("\n", &mut io::stderr()),
            false => Ok(()),
        }
    }

    /// The figures.
    fn finish(&mut self, finish: Finish, seed: u64) -> Result<()> {
        self.bar.finish_and_clear();
        self.end_thoughts()?;
        if self.answering {
            write("\n", &mut io::stdout())?;
        }
        let usage = finish.usage;
        let end = match finish.reason {
            FinishReason::Error(error) => return Err(error.into()),
            FinishReason::Stop => "",
            FinishReason::Length => "; cut off: no room for more (see -n and --ctx)",
            FinishReason::Cancelled => "; interrupted",
        };
        manners::say(&format!(
            "read {} tokens, {}; wrote {}, {}; seed {seed}{end}",
            usage.prompt_tokens,
            speed(usage.prompt_tokens - usage.cached_tokens, usage.prefill),
            usage.generated_tokens,
            // The first token came out of the prompt.
            speed(usage.generated_tokens.saturating_sub(1), usage.decode),
        ));
        Ok(())
    }
}

/// Writes at once: an answer is read as it is written.
fn write(text: &str, out: &mut impl Write) -> Result<()> {
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn speed(tokens: u32, time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds > 0.0 => format!("{:.1} a second", f64::from(tokens) / seconds),
        _ => "at once".to_owned(),
    }
}
