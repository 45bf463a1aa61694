//! The model that answers.

use ds4_engine::Engine;
use ds4_prompt::{Generation, Special, Tokenizer};

use crate::ServeError;

/// A loaded model, as the server sees it.
#[derive(Clone, Debug)]
pub struct Model {
    engine: Engine,
    id: String,
    generation: Generation,
    created: u64,
}

impl Model {
    /// The model on `engine`; `name` is what its file calls itself.
    ///
    /// # Errors
    /// If it cannot chat: no tokenizer, or a vocabulary without the tokens of turns.
    pub fn new(engine: Engine, name: &str) -> Result<Self, ServeError> {
        let Some(tokenizer) = engine.tokenizer() else {
            return Err(ServeError::Model(
                "it was loaded without a tokenizer".to_owned(),
            ));
        };
        let needed = [
            Special::Bos,
            Special::Eos,
            Special::User,
            Special::Assistant,
            Special::ThinkBegin,
            Special::ThinkEnd,
        ];
        let known = |special| tokenizer.special(special).is_some();
        if let Some(missing) = needed.into_iter().find(|&special| !known(special)) {
            let missing = missing.text();
            let problem = format!("its vocabulary has no {missing}: not a chat model");
            return Err(ServeError::Model(problem));
        }
        let generation = Generation::of_model_name(name).unwrap_or_default();
        Ok(Self {
            id: id_of(name),
            generation,
            created: crate::clock::seconds(),
            engine,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What `/v1/models` calls it.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// When it was loaded, in seconds.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        self.engine
            .tokenizer()
            .expect("looked at when the model was made")
    }
}

/// A name as an identifier: lower case, words joined by dashes.
fn id_of(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let words = name.split(|c| !is_plain(c)).filter(|word| !word.is_empty());
    let id = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    match id.as_str() {
        "" => "deepseek-v4".to_owned(),
        _ => id,
    }
}

#[cfg(test)]
mod tests {
    use super::id_of;

    #[test]
    fn names_become_identifiers() {
        assert_eq!(id_of("DeepSeek V4 Flash (q2)"), "deepseek-v4-flash-q2");
        assert_eq!(id_of("  "), "deepseek-v4");
    }
}
