//! `ds4 selftest`: may this machine, and this build, be trusted?

use std::time::Instant;

use anyhow::{Context, Result, bail};
use ds4_engine::Arithmetic;
use ds4_engine::selftest::{self, Extent, Finding};
use ds4_gguf::Format;
use ds4_model::Recipe;
use serde_json::json;

use crate::{interrupts, manners};

/// Compare every operation that this machine's vector instructions compute with plain loops.
///
/// A small synthetic model is run in every weight format, its operations once by plain loops and
/// once by each level of vector instructions, on the same inputs. An operation that is further from
/// the plain result than rounding explains is named, and the exit code is 1: then do not trust an
/// answer of this machine, and please report it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the weights and the text come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Show every operation, not only those that are wrong.
    #[arg(long)]
    all: bool,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

/// A whole session once; then the formats of all weights, and the other arithmetic.
fn cases() -> Vec<(Recipe, Arithmetic, Extent)> {
    let formats = [
        Recipe::Q4,
        Recipe::MXFP4,
        Recipe::FLOAT,
        Recipe::F32,
        Recipe::plain("f16", Format::F16),
        Recipe::plain("q8_0", Format::Q8_0),
    ];
    let formats = formats.map(|recipe| (recipe, Arithmetic::Blocks, Extent::Weights));
    [(Recipe::Q2, Arithmetic::Blocks, Extent::Session)]
        .into_iter()
        .chain(formats)
        .chain([(Recipe::Q2, Arithmetic::Float, Extent::Weights)])
        .collect()
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let interrupts = interrupts::catch()?;
    let levels: Vec<String> = selftest::levels()
        .map(|level| format!("{level:?}"))
        .collect();
    if levels.is_empty() {
        return manners::print("this machine has plain loops only: there is nothing to compare\n");
    }
    let mut findings: Vec<(String, Finding)> = Vec::new();
    for (recipe, arithmetic, extent) in cases() {
        if interrupts.is_pressed() {
            return Err(interrupts::Interrupted.into());
        }
        let name = match arithmetic {
            Arithmetic::Float => format!("{recipe} exact"),
            Arithmetic::Blocks => recipe.to_string(),
        };
        manners::say(&format!(
            "{name}: {} against plain loops",
            levels.join(", ")
        ));
        let found = selftest::compare(&recipe, arithmetic, extent, args.seed)
            .with_context(|| format!("cannot compare on {name} weights"))?;
        findings.extend(found.into_iter().map(|finding| (name.clone(), finding)));
    }
    let wrong = findings.iter().filter(|(_, finding)| !finding.is_good());
    let wrong = wrong.count();
    manners::print(&match args.json {
        true => as_json(&findings),
        false => as_text(&findings, args.all),
    })?;
    manners::say(&format!("{:.1} s", begun.elapsed().as_secs_f64()));
    if wrong > 0 {
        bail!("{wrong} of {} comparisons failed", findings.len());
    }
    Ok(())
}

fn as_text(findings: &[(String, Finding)], all: bool) -> String {
    let mut text = String::new();
    for (weights, finding) in findings {
        let verdict = match finding.is_good() {
            true if !all => continue,
            true => "ok",
            false => "WRONG",
        };
        let (level, operation) = (finding.level, finding.operation);
        text.push_str(&format!(
            "{level:?} {weights} {operation}: {:.1e} from the plain result, at most {:.0e}: \
             {verdict}\n",
            finding.worst, finding.limit
        ));
    }
    for level in selftest::levels() {
        let of_level = || {
            findings
                .iter()
                .filter(|(_, finding)| finding.level == level)
        };
        let good = of_level().filter(|(_, finding)| finding.is_good()).count();
        let runs = match level == selftest::best() {
            true => " (this is what runs)",
            false => "",
        };
        text.push_str(&format!(
            "{level:?}{runs}: {good} of {} comparisons are right\n",
            of_level().count()
        ));
    }
    text
}

fn as_json(findings: &[(String, Finding)]) -> String {
    let item = |(weights, finding): &(String, Finding)| {
        json!({
            "level": format!("{:?}", finding.level),
            "weights": weights,
            "operation": finding.operation,
            "worst": finding.worst,
            "limit": finding.limit,
            "good": finding.is_good(),
        })
    };
    let all: Vec<_> = findings.iter().map(item).collect();
    format!("{:#}\n", json!({ "comparisons": all }))
}
