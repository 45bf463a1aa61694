//! `--trace`: a file for every answer, with everything that became of a request.
//!
//! For whoever wants to know what the model really saw and said. The files hold what users wrote:
//! the folder is made for its owner alone, and nothing but this switch writes them.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ds4_prompt::TokenId;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::error::{ApiError, Family};
use crate::ids;
use crate::model::Model;
use crate::prepare::Prepared;
use crate::way::Way;
use crate::{clock, tenant::Tenant};

/// A folder of traces.
#[derive(Debug)]
pub(crate) struct Traces(PathBuf);

/// What a trace tells.
pub(crate) struct Traced<'a> {
    pub(crate) model: &'a Model,
    pub(crate) tenant: Tenant,
    pub(crate) path: &'static str,
    /// The body, as it came.
    pub(crate) body: &'a str,
    pub(crate) prepared: &'a Prepared,
    pub(crate) way: Way,
    pub(crate) answers: Result<&'a [Answer], &'a ApiError>,
}

impl Traces {
    /// The folder, made if need be.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Writes one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, traced: &Traced<'_>) -> io::Result<()> {
        let now = clock::rfc3339(clock::seconds()).replace(':', "");
        let name = ids::fresh(&format!("{now}-"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.0.join(format!("{name}.json")))?;
        file.write_all(format!("{:#}\n", tell(traced)).as_bytes())
    }
}

fn tell(traced: &Traced<'_>) -> Value {
    let body = serde_json::from_str(traced.body);
    let path = traced.prepared.path(traced.way);
    let mut told = json!({
        "time": clock::rfc3339(clock::seconds()),
        "path": traced.path,
        "tenant": traced.tenant.label(),
        "request": body.unwrap_or_else(|_| Value::from(traced.body)),
        "prompt": traced.prepared.text,
        "keeps_reasoning": traced.way == Way::Alias,
        "prompt_tokens": path.ids,
        "cuts": path.cuts,
    });
    match traced.answers {
        Ok(answers) => {
            told["answers"] = answers
                .iter()
                .map(|answer| answered(answer, traced.model))
                .collect();
        }
        Err(error) => told["error"] = error.message(Family::OpenAi).into(),
    }
    told
}

fn answered(answer: &Answer, model: &Model) -> Value {
    let ids: Vec<u32> = answer.tokens.iter().map(|TokenId(id)| *id).collect();
    let calls = answer.calls.iter();
    let calls: Vec<Value> = calls
        .map(|call| json!({"id": call.id, "name": call.name, "arguments": call.arguments}))
        .collect();
    let usage = answer.usage;
    json!({
        "cached_tokens": answer.counts.cached,
        "computed_tokens": answer.counts.prompt - answer.counts.cached,
        "raw": model.tokenizer().decode(&answer.tokens),
        "tokens": ids,
        "thought": answer.thought,
        "text": answer.text,
        "calls": calls,
        "end": answer.end.as_ref().map(|end| format!("{end:?}")),
        "markup": format!("{:?}", answer.markup),
        "seconds": {
            "waited": usage.waited.as_secs_f64(),
            "prefill": usage.prefill.as_secs_f64(),
            "decode": usage.decode.as_secs_f64(),
        },
    })
}
