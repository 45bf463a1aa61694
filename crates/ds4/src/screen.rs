//! What the user sees of an answer: the answer on stdout as it is written, and on stderr, dimmed,
//! the thoughts, the progress and the figures.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use ds4_engine::sampling::{Logprob, TopLogprobs};
use ds4_engine::{Finish, FinishReason, Generation, Output, Progress, Usage};
use ds4_prompt::Piece;
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupts::Interrupts;
use crate::manners::{self, DIM, PLAIN};

/// How long Ctrl-C may go unnoticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// A prompt that is read faster than this needs no progress.
const WORTH_A_BAR: Duration = Duration::from_millis(400);

/// A turn of the model.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    /// What it thought.
    pub(crate) thoughts: String,
    /// What it said.
    pub(crate) text: String,
    /// Every token, as it came; the one that ended the turn is not among them.
    pub(crate) tokens: Vec<u32>,
    /// Each token's log-probabilities, if they were asked for.
    pub(crate) scores: Vec<(Logprob, TopLogprobs)>,
    /// What it took.
    pub(crate) usage: Usage,
    /// Why it ended.
    pub(crate) end: End,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    /// The model was done.
    #[default]
    Stop,
    /// There was no room for more.
    Length,
    /// Ctrl-C.
    Interrupted,
}

impl End {
    /// For programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What is shown of a turn while it is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// Thoughts and text.
    All,
    /// Only how far it is.
    Nothing,
}

/// Shows a turn while it is spoken; Ctrl-C ends it. `known` tokens of the prompt are computed
/// already, as far as the caller knows.
///
/// # Errors
/// If the engine fails, or stdout does.
pub(crate) fn follow(
    mut stream: Generation,
    show: Show,
    known: usize,
    interrupts: &Interrupts,
) -> Result<Spoken> {
    let mut screen = Screen::new(show, known as u32);
    let mut spoken = Spoken::default();
    loop {
        if interrupts.is_pressed() {
            stream.cancel();
        }
        let output = match stream.next_within(PATIENCE) {
            Ok(Some(output)) => output,
            Ok(None) => return Ok(spoken),
            // Nothing came: time to look at the flag again.
            Err(_) => continue,
        };
        match output {
            Output::Progress(progress) => screen.progress(progress),
            Output::Token(token) => {
                spoken.tokens.push(token.id);
                if let Some(logprob) = token.logprob {
                    let token_score = Logprob {
                        token: token.id,
                        logprob,
                    };
                    spoken.scores.push((token_score, token.top));
                }
            }
            Output::Piece(Piece::Thought(text)) => {
                screen.thought(&text)?;
                spoken.thoughts.push_str(&text);
            }
            Output::Piece(Piece::Text(text)) => {
                screen.text(&text)?;
                spoken.text.push_str(&text);
            }
            Output::Finish(Finish { reason, usage }) => {
                screen.close()?;
                spoken.usage = usage;
                spoken.end = match reason {
                    FinishReason::Error(error) => return Err(error.into()),
                    FinishReason::Stop => End::Stop,
                    FinishReason::Length => End::Length,
                    FinishReason::Cancelled => End::Interrupted,
                };
                return Ok(spoken);
            }
            Output::Score(_) | Output::Piece(_) => {}
        }
    }
}

struct Screen {
    show: Show,
    bar: Option<ProgressBar>,
    begun: Instant,
    known: u32,
    /// Whether thoughts, and the answer, stand in the middle of a line.
    thinking: bool,
    answering: bool,
}

impl Screen {
    fn new(show: Show, known: u32) -> Self {
        Self {
            show,
            bar: None,
            begun: Instant::now(),
            known,
            thinking: false,
            answering: false,
        }
    }

    fn progress(&mut self, Progress { done, total }: Progress) {
        if done == total {
            self.clear();
            return;
        }
        if self.begun.elapsed() < WORTH_A_BAR || manners::is_quiet() {
            return;
        }
        let known = self.known.min(done);
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(0).with_elapsed(self.begun.elapsed());
            let style = "reading {wide_bar} {pos} of {len} tokens, {per_sec}, {eta} left";
            bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
            bar
        });
        bar.set_length((total - known).into());
        bar.set_position((done - known).into());
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn thought(&mut self, text: &str) -> Result<()> {
        self.clear();
        if self.show == Show::Nothing || manners::is_quiet() {
            return Ok(());
        }
        self.thinking = !text.ends_with('\n');
        let text = manners::shown(text, &io::stderr());
        let mut out = anstream::stderr().lock();
        write!(out, "{DIM}{text}{PLAIN}")?;
        Ok(out.flush()?)
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.clear();
        if self.show == Show::Nothing {
            return Ok(());
        }
        self.end_thoughts();
        self.answering = !text.ends_with('\n');
        // Written at once: an answer is read as it is written.
        let mut out = io::stdout().lock();
        out.write_all(manners::shown(text, &out).as_bytes())?;
        Ok(out.flush()?)
    }

    fn end_thoughts(&mut self) {
        if std::mem::take(&mut self.thinking) {
            manners::say("");
        }
    }

    fn close(&mut self) -> Result<()> {
        self.clear();
        self.end_thoughts();
        if std::mem::take(&mut self.answering) {
            manners::print("\n")?;
        }
        Ok(())
    }
}

/// The figures of a turn, one line.
pub(crate) fn figures(spoken: &Spoken) -> String {
    let usage = spoken.usage;
    let kept = match usage.cached_tokens {
        0 => String::new(),
        kept => format!(" ({kept} of them kept)"),
    };
    let end = match spoken.end {
        End::Stop => "",
        End::Length => "; cut off: no room for more (see -n and --ctx)",
        End::Interrupted => "; interrupted",
    };
    format!(
        "read {} tokens{kept}, {}; wrote {}, {}{end}",
        usage.prompt_tokens,
        speed(usage.prompt_tokens - usage.cached_tokens, usage.prefill),
        usage.generated_tokens,
        // The first token came out of the prompt.
        speed(usage.generated_tokens.saturating_sub(1), usage.decode),
    )
}

/// Says a line of figures.
pub(crate) fn say_dimmed(line: &str) {
    manners::say(&format!("{DIM}{line}{PLAIN}"));
}

fn speed(tokens: u32, time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds > 0.0 => format!("{:.1} a second", f64::from(tokens) / seconds),
        _ => "at once".to_owned(),
    }
}

/// Whether somebody sits at the terminal and can answer.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
