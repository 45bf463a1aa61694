//! `ds4 synth`: a synthetic model as a file.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, ValueEnum};
use ds4_model::synthetic::{self, Contents, Synthetic};
use ds4_model::{Profile, Recipe, Shape};

use crate::units::Bytes;
use crate::{manners, progress};

/// Make a synthetic model: every name, size and format is real, the weights come out of a seed.
///
/// The same command makes the same bytes on every machine. A synthetic model is as fast as a real
/// one and writes nonsense: use it to try the program, to measure speed, and to compare two engines
/// on the same weights.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which model.
    #[arg(value_enum)]
    shape: Named,
    /// The file to write; it appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Formats of the weights [default: q2 for flash and pro, float for the others].
    ///
    /// q2, q2q4, q4 and mxfp4 store everything but the routed experts as published files do (Q8_0,
    /// F16, F32); q8 has Q8_0 experts as well; float is BF16, f32 is F32 throughout.
    #[arg(long, value_parser = PossibleValuesParser::new(Recipe::ALL.map(|recipe| recipe.name)))]
    recipe: Option<String>,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep only the first N layers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    layers: Option<u16>,
    /// Store the large matrices of N layers and let the other layers point at them: a small file of
    /// the full shape.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    share: Option<u16>,
    /// Write the model's draft (MTP) block instead, as a support file.
    #[arg(long, conflicts_with = "share")]
    draft: bool,
}

/// The models that can be made.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Named {
    /// 6 layers, other head widths than the family: for the scalar reference alone.
    Tiny,
    /// 5 layers, the family's fixed geometry, 26 million parameters.
    Mini,
    /// 5 layers, 67 million parameters, the real index top-k.
    Wide,
    /// DeepSeek V4 Flash, 43 layers, 284 billion parameters: 87 to 165 GB.
    Flash,
    /// DeepSeek V4 PRO, 61 layers, 1.57 trillion parameters: 465 to 900 GB.
    Pro,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let model = args.model();
    let start = Instant::now();
    let (written, bytes) = progress::bytes(|progress| {
        if args.draft {
            model.write_draft(&args.output, progress)
        } else {
            model.write(&args.output, progress)
        }
    })?;
    let path = args.output.display();
    written.with_context(|| format!("cannot make {path}"))?;
    let seconds = start.elapsed().as_secs_f64();
    let speed = Bytes((bytes as f64 / seconds.max(1e-3)) as u64);
    manners::say(&format!(
        "wrote {path}: {} in {seconds:.1} s, {speed}/s",
        Bytes(bytes)
    ));
    Ok(())
}

impl Args {
    fn model(&self) -> Synthetic {
        let shape = self.shape();
        let full_size = matches!(self.shape, Named::Flash | Named::Pro);
        let default = if full_size { Recipe::Q2 } else { Recipe::FLOAT };
        let recipe = self.recipe.as_deref().map_or(default, |name| {
            Recipe::named(name).expect("clap admits only the names of recipes")
        });
        let published = matches!(recipe.name, "q2" | "q2q4" | "q4" | "mxfp4");
        if matches!(shape.profile, Profile::Flash | Profile::Pro) && !published {
            let name = recipe.name;
            usage(&format!(
                "no published file of {} has recipe {name}: choose q2, q2q4, q4 or mxfp4, \
                 or fewer layers with --layers",
                shape.profile
            ));
        }
        let share = self.share.map(usize::from);
        let contents = if full_size || share.is_some() {
            Contents::Noise { share }
        } else {
            Contents::Reference
        };
        Synthetic {
            shape,
            seed: self.seed,
            recipe,
            contents,
        }
    }

    fn shape(&self) -> Shape {
        let shape = match self.shape {
            Named::Tiny => synthetic::tiny(),
            Named::Mini => synthetic::mini(),
            Named::Wide => synthetic::wide(),
            Named::Flash => Shape::flash(),
            Named::Pro => Shape::pro(),
        };
        let Some(layers) = self.layers.map(usize::from) else {
            return shape;
        };
        let has = shape.layers();
        if layers > has {
            usage(&format!("--layers {layers}: this model has {has}"));
        }
        shape.with_layers(layers)
    }
}

/// Ends the program: this command line makes no sense.
fn usage(message: &str) -> ! {
    crate::Cli::command()
        .error(ErrorKind::ValueValidation, message)
        .exit()
}
