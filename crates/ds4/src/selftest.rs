//! `ds4 selftest`: may this machine, and this build, be trusted?

use std::time::Instant;

use anyhow::{Context, Result, bail};
use ds4_engine::selftest::{self, Extent, Finding};
use ds4_engine::{Arithmetic, Card, CardError, CardFinding, try_card};
use ds4_gguf::Format;
use ds4_model::Recipe;
use serde_json::json;

use crate::{interrupts, manners};

/// Compare every operation that this machine's vector instructions compute with plain loops, and an
/// NVIDIA card with the CPU.
///
/// A small synthetic model is run in every weight format, its operations once by plain loops and
/// once by each level of vector instructions, on the same inputs. An operation that is further from
/// the plain result than rounding explains is named, and the exit code is 1: then do not trust an
/// answer of this machine, and please report it. Where there is an NVIDIA card, the model's whole
/// forward pass is run on it as well, twice, and its logits are held against the CPU's.
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

/// What was found: weights, and what of them.
struct Found {
    cpu: Vec<(String, Finding)>,
    /// The card's name and what was found on it, or why there is none.
    card: Result<(String, Vec<(String, CardFinding)>), CardError>,
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
        manners::say("this machine has plain loops only: nothing of the CPU is compared");
    }
    let mut findings: Vec<(String, Finding)> = Vec::new();
    for (recipe, arithmetic, extent) in cases() {
        if levels.is_empty() {
            break;
        }
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
    let found = Found {
        cpu: findings,
        card: match Card::open(0) {
            Ok(card) => {
                let name = card.name()?;
                let compared = on_card(&name, args.seed, &interrupts)?;
                Ok((name, compared))
            }
            Err(reason) => {
                manners::say(&format!("no card is compared: {reason}"));
                Err(reason)
            }
        },
    };
    let (wrong, all) = found.count();
    manners::print(&match args.json {
        true => as_json(&found),
        false => as_text(&found, args.all),
    })?;
    manners::say(&format!("{:.1} s", begun.elapsed().as_secs_f64()));
    if wrong > 0 {
        bail!("{wrong} of {all} comparisons failed");
    }
    Ok(())
}

/// Every format of weights on the card.
fn on_card(
    name: &str,
    seed: u64,
    interrupts: &interrupts::Interrupts,
) -> Result<Vec<(String, CardFinding)>> {
    let mut findings = Vec::new();
    let recipes = cases()
        .into_iter()
        .filter(|case| case.1 == Arithmetic::Blocks);
    for (recipe, ..) in recipes {
        if interrupts.is_pressed() {
            return Err(interrupts::Interrupted.into());
        }
        manners::say(&format!("{recipe}: {name} against the CPU"));
        let found = try_card(0, &recipe, seed)
            .with_context(|| format!("cannot compare {recipe} weights on {name}"))?;
        findings.extend(
            found
                .into_iter()
                .map(|finding| (recipe.to_string(), finding)),
        );
    }
    Ok(findings)
}

impl Found {
    /// Wrong comparisons, and all.
    fn count(&self) -> (usize, usize) {
        let cpu = self.cpu.iter().map(|(_, finding)| finding.is_good());
        let card = self.card.iter().flat_map(|(_, found)| found);
        let all: Vec<bool> = cpu
            .chain(card.map(|(_, finding)| finding.is_good()))
            .collect();
        (all.iter().filter(|good| !**good).count(), all.len())
    }
}

fn as_text(found: &Found, all: bool) -> String {
    let mut text = String::new();
    let findings = &found.cpu;
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
    if let Ok((name, findings)) = &found.card {
        card_as_text(&mut text, name, findings, all);
    }
    text
}

fn card_as_text(text: &mut String, name: &str, findings: &[(String, CardFinding)], all: bool) {
    for (weights, finding) in findings.iter().filter(|(_, f)| all || !f.is_good()) {
        let verdict = match (finding.is_good(), finding.is_repeatable) {
            (true, _) => "ok",
            (_, true) => "WRONG",
            (_, false) => "WRONG, and not the same twice",
        };
        text.push_str(&format!(
            "{name} {weights} {}: {:.1e} from the CPU's logits, at most {:.0e}: {verdict}\n",
            finding.name, finding.distance, finding.limit
        ));
    }
    let good = findings.iter().filter(|(_, finding)| finding.is_good());
    text.push_str(&format!(
        "{name}: {} of {} comparisons are right\n",
        good.count(),
        findings.len()
    ));
}

fn as_json(found: &Found) -> String {
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
    let of_card = |(weights, finding): &(String, CardFinding)| {
        json!({
            "weights": weights,
            "setting": finding.name,
            "distance": finding.distance,
            "limit": finding.limit,
            "repeatable": finding.is_repeatable,
            "good": finding.is_good(),
        })
    };
    let all: Vec<_> = found.cpu.iter().map(item).collect();
    let card = match &found.card {
        Ok((name, findings)) => {
            let all: Vec<_> = findings.iter().map(of_card).collect();
            json!({ "name": name, "comparisons": all })
        }
        Err(reason) => json!({ "absent": reason.to_string() }),
    };
    format!("{:#}\n", json!({ "comparisons": all, "card": card }))
}
