//! How the model is asked to speak: the flags that `ds4 run` and its chat share.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ds4_engine::{Sampling, SamplingFields};
use ds4_prompt::{Generation, Special, Thinking, Tokenizer};

use crate::manners::Hinted;

/// What the model is told, and how it answers.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SpeechArgs {
    /// What the model is told before everything else.
    #[arg(long, value_name = "TEXT", env = "DS4_SYSTEM")]
    pub(crate) system: Option<String>,
    /// Most tokens to write in an answer, thoughts included [default: what the context has room
    /// for].
    #[arg(short = 'n', long = "tokens", value_name = "TOKENS", env = "DS4_TOKENS",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tokens: Option<u32>,
    /// Think before answering, this hard [default: as the model was trained to].
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "high",
        value_parser = ["off", "low", "high", "max"], env = "DS4_THINK")]
    think: Option<String>,
    /// Answer at once, as --think off.
    #[arg(long, overrides_with = "think")]
    nothink: bool,
    /// How freely tokens are drawn; 0 always takes the likeliest.
    #[arg(long, value_name = "T", default_value_t = 1.0, env = "DS4_TEMP")]
    temp: f32,
    /// Draw from the likeliest tokens that hold this much of the mass.
    #[arg(long, value_name = "P", default_value_t = 1.0, env = "DS4_TOP_P")]
    top_p: f32,
    /// Draw from tokens at least this likely relative to the likeliest.
    #[arg(long, value_name = "P", default_value_t = 0.05, env = "DS4_MIN_P")]
    min_p: f32,
    /// Where the draws begin: the same seed gives the same answer [default: the clock].
    #[arg(long)]
    seed: Option<u64>,
}

impl SpeechArgs {
    /// Where the draws of the first answer begin.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(0, |now| now.as_nanos() as u64 % 1_000_000_000)
        })
    }

    /// How tokens are drawn.
    pub(crate) fn sampling(&self, seed: u64) -> Result<Sampling> {
        let fields = SamplingFields {
            temperature: self.temp,
            top_p: self.top_p,
            min_p: self.min_p,
            seed,
            ..SamplingFields::default()
        };
        Sampling::new(fields).map_err(|error| {
            Hinted::senseless(
                format!("cannot draw tokens like that: {error}"),
                "--temp 0 takes the likeliest, 1 is what the model was trained for; --top-p and \
                 --min-p are shares from 0 to 1",
            )
        })
    }

    /// How drawing is set, for people.
    pub(crate) fn drawing(&self) -> String {
        match self.temp {
            0.0 => "always the likeliest token".to_owned(),
            temp => format!(
                "temperature {temp}, top-p {}, min-p {}",
                self.top_p, self.min_p
            ),
        }
    }

    /// Whether the model reasons first, and how hard.
    pub(crate) fn thinking(&self, generation: Generation) -> Thinking {
        match self.think.as_deref() {
            _ if self.nothink => Thinking::Off,
            Some("off") => Thinking::Off,
            Some(level) => {
                Thinking::of_effort_name(level).expect("clap admits only the names of efforts")
            }
            None => Thinking::On(generation.ordinary_effort()),
        }
    }
}

/// Which checkpoints a model of this name belongs to.
pub(crate) fn generation(name: &str) -> Generation {
    Generation::of_model_name(name).unwrap_or_default()
}

/// Refuses a vocabulary that has no turns.
pub(crate) fn check_chat(tokenizer: &Tokenizer) -> Result<()> {
    let needed = [
        Special::Bos,
        Special::Eos,
        Special::User,
        Special::Assistant,
    ];
    let missing = |special: &Special| tokenizer.special(*special).is_none();
    match needed.into_iter().find(missing) {
        None => Ok(()),
        Some(missing) => Err(Hinted::failure(
            format!("the vocabulary has no {}: not a chat model", missing.text()),
            "ds4 logprobs, ds4 perplexity and ds4 run --raw work with any text model",
        )),
    }
}

/// The level as people name it.
pub(crate) fn level(thinking: Thinking) -> &'static str {
    use ds4_prompt::Effort;
    match thinking {
        Thinking::Off => "off",
        Thinking::On(Effort::Low) => "low",
        Thinking::On(Effort::High) => "high",
        Thinking::On(Effort::Max) => "max",
    }
}
