//! From an [`Ask`] to a request of the engine: rendered, encoded, checked.

use ds4_engine::{Grammar, Request, Sampling, SamplingFields, Structure, end_of_turn};
use ds4_prompt::chat::{Settings, ToolsPlace, render};
use ds4_prompt::dsml::{Begin, Delivery, Reading, Tools};
use ds4_prompt::{AddedTokens, Prompt, Segment, Special, TokenId, Tokenizer, Tokens};

use crate::ask::{Ask, RawPrompt, Source};
use crate::config::Config;
use crate::error::{ApiError, Kind};
use crate::grammar::{Masks, Shape};
use crate::memory::Memory;
use crate::model::Model;
use crate::restore::{Rendered, Restored};
use crate::script::Script;
use crate::way::{Alias, Path, Way};

/// Everything about a turn that is known before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) path: Path,
    /// The one that goes on from reasoning which the other dropped.
    pub(crate) alias: Option<Alias>,
    pub(crate) reading: Reading,
    pub(crate) structure: Structure,
    pub(crate) sampling: SamplingFields,
    pub(crate) budget: u32,
    pub(crate) stop_tokens: Vec<u32>,
    /// The rendered text, for whoever traces.
    pub(crate) text: String,
    script: Option<Script>,
    shape: Option<Shape>,
}

impl Prepared {
    /// The prompt of a way.
    pub(crate) fn path(&self, way: Way) -> &Path {
        match (way, &self.alias) {
            (Way::Alias, Some(alias)) => &alias.path,
            _ => &self.path,
        }
    }

    /// The same, held to a shape.
    pub(crate) fn shaped(self, shape: Option<Shape>) -> Self {
        Self { shape, ..self }
    }

    /// The request for one of several answers.
    pub(crate) fn request(
        &self,
        way: Way,
        choice: u32,
        tokenizer: &Tokenizer,
    ) -> Result<Request, ApiError> {
        let mut fields = self.sampling.clone();
        fields.seed = fields.seed.wrapping_add(u64::from(choice));
        let script = self.script.as_ref();
        let script = script.and_then(|script| script.lines(&self.text, tokenizer));
        let grammar = match (script, &self.shape) {
            (Some(script), _) => Some(script),
            (None, None) => None,
            (None, Some(shape)) => {
                let masks = Masks::begin(shape, self.reading.begin, tokenizer);
                let masks = masks.ok_or_else(|| ApiError::internal("no thread for a grammar"))?;
                Some(Box::new(masks) as Box<dyn Grammar>)
            }
        };
        let path = self.path(way);
        Ok(Request {
            grammar,
            cuts: path.cuts.clone(),
            stop_tokens: self.stop_tokens.clone(),
            reading: Some(self.reading.clone()),
            structure: self.structure,
            ..Request::tokens(path.ids.clone(), self.budget, check(fields)?)
        })
    }
}

/// How many tokens a prompt has.
pub(crate) fn count(
    model: &Model,
    config: &Config,
    ask: &Ask,
    memory: Memory<'_>,
) -> Result<usize, ApiError> {
    Ok(encode(model, config, ask, memory)?.0.tokens.ids.len())
}

/// Renders and checks.
///
/// # Errors
/// If the conversation cannot be rendered, does not fit, or cannot be sampled as it says.
pub(crate) fn prepare(
    model: &Model,
    config: &Config,
    ask: &Ask,
    memory: Memory<'_>,
) -> Result<Prepared, ApiError> {
    let (Restored { tokens, alias }, text) = encode(model, config, ask, memory)?;
    let tokenizer = model.tokenizer();
    let (prompt, context) = (tokens.ids.len(), model.engine().context());
    if prompt >= context {
        return Err(ApiError::context(prompt, context));
    }
    let mut sampling = ask.sampling.clone();
    if config.official_sampling && ask.begin() == Begin::Reasoning {
        sampling = SamplingFields {
            seed: sampling.seed,
            report: sampling.report,
            ..crate::ask::default_sampling()
        };
    }
    if !ask.is_seeded {
        sampling.seed = crate::ids::number();
    }
    let vocab = model.engine().limits().vocab;
    if let Some((token, _)) = sampling
        .logit_bias
        .iter()
        .find(|(id, _)| *id as usize >= vocab)
    {
        let problem = format!("names token {token}; the vocabulary has {vocab}");
        return Err(ApiError::field("logit_bias", problem));
    }
    check(sampling.clone())?;
    let (tools, structure) = match (&ask.source, ask.tools.is_empty()) {
        (Source::Chat { .. }, false) => (Tools::Active, Structure::Greedy),
        _ => (Tools::Inactive, Structure::Sampled),
    };
    let budget = ask.budget.or(config.tokens).unwrap_or(u32::MAX);
    // The reasoning must not take the room of the answer.
    let wanted = ((context - prompt) / 2).min(budget as usize);
    let alias = alias.filter(|alias| alias.tokens.ids.len() + wanted < context);
    let alias = alias.map(|alias| Alias {
        path: Path::new(alias.tokens, &ask.source),
        live: alias.live as u32,
    });
    Ok(Prepared {
        path: Path::new(tokens, &ask.source),
        alias,
        reading: Reading {
            begin: ask.begin(),
            tools,
            delivery: match config.live_calls && ask.is_streamed {
                true => Delivery::Live,
                false => Delivery::Whole,
            },
            stops: ask.stops.clone(),
        },
        structure,
        sampling,
        budget,
        stop_tokens: end_of_turn(tokenizer),
        text,
        script: config.script.clone(),
        shape: None,
    })
}

fn encode(
    model: &Model,
    config: &Config,
    ask: &Ask,
    memory: Memory<'_>,
) -> Result<(Restored, String), ApiError> {
    let tokenizer = model.tokenizer();
    let policy = match config.added_tokens_in_data {
        true => AddedTokens::AsToken,
        false => AddedTokens::AsText,
    };
    match &ask.source {
        Source::Chat {
            messages, found, ..
        } => {
            let prompt = prompt_of(model.generation(), config, ask)?;
            let rendered = Rendered {
                tokens: prompt.encode(tokenizer, policy),
                messages,
                found,
            };
            // Whoever turned thinking off wants none of it.
            let has_alias = ask.begin() == Begin::Reasoning;
            let restored = rendered.restore(memory, tokenizer, has_alias);
            Ok((restored, prompt.text().to_owned()))
        }
        Source::Raw { prompt, suffix } => {
            let (tokens, text) = raw(tokenizer, model, policy, prompt, suffix.as_deref())?;
            let alias = None;
            Ok((Restored { tokens, alias }, text))
        }
    }
}

/// The prompt of a conversation.
pub(crate) fn prompt_of(
    generation: ds4_prompt::Generation,
    config: &Config,
    ask: &Ask,
) -> Result<Prompt, ApiError> {
    let Source::Chat {
        messages, thinking, ..
    } = &ask.source
    else {
        return Ok(Prompt::default());
    };
    let mut settings = Settings::new(generation, *thinking);
    if config.tools_first {
        settings.tools = ToolsPlace::BeforeText;
    }
    render(messages, &settings).map_err(|error| ApiError::new(Kind::Invalid, error.to_string()))
}

/// A text as it stands, or the two ends of one, after BOS.
fn raw(
    tokenizer: &Tokenizer,
    model: &Model,
    policy: AddedTokens,
    prompt: &RawPrompt,
    suffix: Option<&str>,
) -> Result<(Tokens, String), ApiError> {
    let bos = Special::Bos.text();
    let (ids, text) = match (prompt, suffix) {
        (RawPrompt::Tokens(ids), None) => {
            let vocab = model.engine().limits().vocab;
            if let Some(stranger) = ids.iter().find(|id| **id as usize >= vocab) {
                let problem = format!("holds token {stranger}; the vocabulary has {vocab}");
                return Err(ApiError::field("prompt", problem));
            }
            let own = tokenizer.special(Special::Bos);
            let given = ids.iter().copied().map(TokenId);
            let is_begun = ids.first().copied().map(TokenId) == own;
            let begin = own.filter(|_| !is_begun);
            (begin.into_iter().chain(given).collect(), String::new())
        }
        (RawPrompt::Tokens(_), Some(_)) => {
            return Err(ApiError::field("suffix", "needs a prompt that is text"));
        }
        (RawPrompt::Text(text), None) => {
            let segments = [Segment::control(bos), Segment::data(text)];
            (
                tokenizer.encode_segments(segments, policy),
                format!("{bos}{text}"),
            )
        }
        (RawPrompt::Text(text), Some(suffix)) => {
            let [begin, hole, end] = [Special::FimBegin, Special::FimHole, Special::FimEnd];
            for special in [begin, hole, end] {
                if tokenizer.special(special).is_none() {
                    let problem = format!("the vocabulary has no {}", special.text());
                    return Err(ApiError::field("suffix", problem));
                }
            }
            let [begin, hole, end] = [begin, hole, end].map(Special::text);
            let segments = [
                Segment::control(bos),
                Segment::control(begin),
                Segment::data(text),
                Segment::control(hole),
                Segment::data(suffix),
                Segment::control(end),
            ];
            let shown = format!("{bos}{begin}{text}{hole}{suffix}{end}");
            (tokenizer.encode_segments(segments, policy), shown)
        }
    };
    let cuts = Vec::new();
    Ok((Tokens { ids, cuts }, text))
}

/// Sampling that holds together.
fn check(fields: SamplingFields) -> Result<Sampling, ApiError> {
    Sampling::new(fields).map_err(|error| {
        let problem = format!("is {}; it must be {}", error.value, error.expected);
        ApiError::field(error.field, problem)
    })
}
