//! `--dump-logprobs`: each token of an answer with its alternatives, as JSON in the original
//! program's form.

use std::path::Path;

use anyhow::{Context, Result};
use ds4_engine::sampling::{Logprob, TopLogprobs};
use ds4_prompt::{TokenId, Tokenizer};
use serde_json::{Value, json};

/// Writes the file. `sizes` are the tokens of the prompt, those of the context, and how many
/// alternatives were asked for.
pub(crate) fn logprobs(
    path: &Path,
    tokenizer: &Tokenizer,
    scores: &[(Logprob, TopLogprobs)],
    sizes: (usize, u32, u8),
) -> Result<()> {
    let token = |id: u32| -> Value {
        let bytes = tokenizer.token_bytes(TokenId(id));
        json!({ "id": id, "text": String::from_utf8_lossy(bytes), "bytes": bytes })
    };
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
