//! `ds4 perplexity`: how well the model predicts a text.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::loading::{ModelArgs, Wants};
use crate::{interrupts, manners, scoring};

/// Measure how well the model predicts a text: the lower, the better.
///
/// The text is cut into windows of the context's length; each is read on its own, after BOS, and
/// only the tokens of its second half are counted, which have enough text before them. A window
/// that is not full counts like the others if it is the only one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text; stdin without it.
    #[arg(value_name = "TEXT-FILE")]
    file: Option<PathBuf>,
    /// Count every token, also those with little text before them.
    #[arg(long)]
    all: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let text = scoring::read_text(args.file.as_deref())?;
    let model = args.model.load(Wants::EveryToken)?;
    let beginning = scoring::beginning(&model.tokenizer);
    let tokens = scoring::tokens(&model, &text);
    let length = args.model.ctx() as usize - beginning.len();
    let windows = tokens.chunks_exact(length);
    let rest = match tokens.len() < length {
        true => windows.remainder(),
        false => &[],
    };
    let interrupted = interrupts::catch()?;
    let session = model.engine.session()?;
    let mut losses = Losses::default();
    let all = windows.len() + usize::from(!rest.is_empty());
    for (number, window) in windows.chain([rest]).filter(|w| !w.is_empty()).enumerate() {
        let from = match args.all {
            true => 0,
            false => beginning.len() + window.len() / 2,
        };
        let mut text = beginning.clone();
        text.extend(window);
        scoring::score(&session, text, 0, &interrupted, |score| {
            if score.at as usize >= from {
                losses.add(f64::from(-score.token.logprob));
            }
            Ok(())
        })?;
        let so_far = losses.perplexity();
        manners::say(&format!(
            "window {} of {all}: perplexity {so_far:.4}",
            number + 1
        ));
    }
    if losses.count == 0 {
        bail!("nothing to count: the text has {} tokens", tokens.len());
    }
    manners::print(&format!(
        "perplexity {:.4} +- {:.4} over {} tokens\n",
        losses.perplexity(),
        losses.error(),
        losses.count
    ))
}

/// Losses, their sum and the sum of their squares.
#[derive(Default)]
struct Losses {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Losses {
    fn add(&mut self, loss: f64) {
        self.count += 1;
        self.sum += loss;
        self.squares += loss * loss;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    fn perplexity(&self) -> f64 {
        self.mean().exp()
    }

    /// Standard error of the perplexity, as if losses were independent.
    fn error(&self) -> f64 {
        let n = self.count.max(1) as f64;
        let variance = (self.squares / n - self.mean().powi(2)).max(0.0);
        (variance / n).sqrt() * self.perplexity()
    }
}

#[cfg(test)]
mod tests {
    use super::Losses;

    #[test]
    fn an_even_guess_among_ten_has_perplexity_ten() {
        let mut losses = Losses::default();
        (0..100).for_each(|_| losses.add(10f64.ln()));
        assert!((losses.perplexity() - 10.0).abs() < 1e-9);
        assert!(losses.error() < 1e-6);
    }
}
