//! `--dump-logprobs` and `--dump-logits`: what stands behind an answer, as JSON in the original
//! program's form.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ds4_engine::sampling::{Logprob, TopLogprobs};
use ds4_engine::{Machine, PAGE_TOKENS};
use ds4_gguf::Gguf;
use ds4_model::{Outputs, Plan};
use ds4_prompt::{TokenId, Tokenizer};
use serde_json::{Value, json};

use crate::interrupts::{Interrupted, Interrupts};
use crate::loading::ModelArgs;

/// Writes the file. `sizes` are the tokens of the prompt, those of the context, and how many
/// alternatives were asked for.
pub(crate) fn logprobs(
    path: &Path,
    tokenizer: &Tokenizer,
    scores: &[(Logprob, TopLogprobs)],
    sizes: (usize, u32, u8),
) -> Result<()> {
    let token = |id: u32| token(tokenizer, id);
    let item = |one: &Logprob| json!({ "token": token(one.token), "logprob": one.logprob });
    let steps: Vec<Value> = scores
        .iter()
        .enumerate()
        .map(|(step, (chosen, top))| {
            let top: Vec<Value> = top.as_slice().iter().map(item).collect();
            json!({ "step": step, "selected": token(chosen.token), "top_logprobs": top })
        })
        .collect();
    let (prompt_tokens, ctx, top_k) = sizes;
    let all = json!({
        "source": "ds4",
        "prompt_tokens": prompt_tokens,
        "ctx": ctx,
        "top_k": top_k,
        "steps": steps,
    });
    std::fs::write(path, format!("{all:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn token(tokenizer: &Tokenizer, id: u32) -> Value {
    let bytes = tokenizer.token_bytes(TokenId(id));
    json!({ "id": id, "text": String::from_utf8_lossy(bytes), "bytes": bytes })
}

/// Reads `prompt` and writes the logits of all tokens that could follow it.
///
/// An engine draws tokens and has no use for all logits, so the model's machine is driven directly.
pub(crate) fn logits(
    path: &Path,
    args: &ModelArgs,
    file: &Gguf,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    interrupts: &Interrupts,
) -> Result<()> {
    let ctx = args.ctx();
    if prompt.is_empty() || prompt.len() > ctx as usize {
        bail!("the prompt has {} tokens; --ctx is {ctx}", prompt.len());
    }
    let (mut machine, on) = args.machine(file)?;
    let logits = last_logits(&mut *machine, prompt, interrupts)?;
    let best = (0..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1));
    let (best, most) = best.context("the model has no vocabulary")?;
    let experts = file
        .tensors()
        .iter()
        .find(|info| info.name.ends_with("ffn_gate_exps.weight"));
    let bits = experts.and_then(|info| info.format.bytes_of(256));
    let all = json!({
        "source": "ds4",
        "model": file.name(),
        "backend": on,
        "quant_bits": bits.map(|bytes| bytes * 8 / 256),
        "prompt_tokens": prompt.len(),
        "ctx": ctx,
        "vocab": logits.len(),
        "argmax_token": token(tokenizer, best),
        "argmax_logit": most,
        // What is no number is null.
        "logits": logits,
    });
    std::fs::write(path, format!("{all}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The logits after a prompt.
fn last_logits(
    machine: &mut dyn Machine,
    prompt: &[u32],
    interrupts: &Interrupts,
) -> Result<Vec<f32>> {
    let pages: Vec<u32> = (0..prompt.len().div_ceil(PAGE_TOKENS) as u32).collect();
    machine.seat(0, &pages, 0, None)?;
    let (mut plan, mut at, mut logits) = (Plan::new(), 0, Vec::new());
    for part in prompt.chunks(machine.limits().max_rows) {
        if interrupts.is_pressed() {
            return Err(Interrupted.into());
        }
        let outputs = match at + part.len() == prompt.len() {
            true => Outputs::Last,
            false => Outputs::None,
        };
        plan.clear();
        plan.push(0, at as u32, part, outputs)?;
        logits = machine.step(&plan)?.to_vec();
        at += part.len();
    }
    Ok(logits)
}
