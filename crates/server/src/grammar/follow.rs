//! One answer, followed token by token.
//!
//! The engine asks for a mask right before it samples and tells the token right after. Between the
//! two lies a step of the device, and that is when the next mask is computed: a thread takes the
//! token, advances the grammar, and has the mask ready when it is asked for.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use ds4_engine::sampling::TokenMask;
use ds4_engine::{Grammar, end_of_turn};
use ds4_prompt::dsml::Begin;
use ds4_prompt::{Special, TokenId, Tokenizer};
use llguidance::Matcher;

use super::{Hold, Shape};

/// Masks of one answer.
pub(crate) struct Masks {
    tokens: Sender<u32>,
    masks: Receiver<Mask>,
    ends: Vec<u32>,
}

/// Which tokens may come.
enum Mask {
    All,
    /// All but the ends of the turn.
    GoOn,
    /// Those whose bits are set.
    Words(Vec<u32>),
    /// None: the grammar failed, which the engine reports.
    None,
}

/// How far the answer is.
enum Stage {
    /// In reasoning, which is free.
    Reasoning,
    /// In text that is free.
    Text,
    /// Held to the grammar.
    Held,
}

struct Follower {
    matcher: Matcher,
    stage: Stage,
    hold: Hold,
    think_end: Option<u32>,
    mark: Option<u32>,
}

impl Masks {
    /// Begins to follow an answer. Nothing if there is no thread to be had.
    pub(crate) fn begin(shape: &Shape, begin: Begin, tokenizer: &Tokenizer) -> Option<Self> {
        let id = |special| tokenizer.special(special).map(|TokenId(id)| id);
        let follower = Follower {
            // A deep clone shares no locks with the answers of other requests.
            matcher: shape.matcher.deep_clone(),
            stage: match begin {
                Begin::Reasoning => Stage::Reasoning,
                Begin::Text => Stage::after_reasoning(shape.hold),
            },
            hold: shape.hold,
            think_end: id(Special::ThinkEnd),
            mark: id(Special::Dsml),
        };
        let (tokens, taken) = channel();
        let (made, masks) = channel();
        let name = thread::Builder::new().name("ds4-grammar".into());
        name.spawn(move || follower.run(&taken, &made)).ok()?;
        Some(Self {
            tokens,
            masks,
            ends: end_of_turn(tokenizer),
        })
    }
}

impl Grammar for Masks {
    fn allow(&mut self, mask: &mut TokenMask) {
        match self.masks.recv() {
            Ok(Mask::All) => mask.allow_all(),
            Ok(Mask::GoOn) => {
                mask.allow_all();
                for &end in &self.ends {
                    mask.forbid(end);
                }
            }
            Ok(Mask::Words(words)) => {
                let pairs = words.chunks(2);
                for (to, pair) in mask.words_mut().iter_mut().zip(pairs) {
                    let high = pair.get(1).copied().unwrap_or(0);
                    *to = u64::from(pair[0]) | u64::from(high) << 32;
                }
            }
            Ok(Mask::None) | Err(_) => {}
        }
    }

    fn accept(&mut self, token: u32) {
        // A thread that is gone says so by the masks that do not come.
        let _ = self.tokens.send(token);
    }
}

impl Stage {
    fn after_reasoning(hold: Hold) -> Self {
        match hold {
            Hold::Answer => Self::Held,
            Hold::Block => Self::Text,
        }
    }
}

impl Follower {
    fn run(mut self, tokens: &Receiver<u32>, masks: &Sender<Mask>) {
        loop {
            if masks.send(self.mask()).is_err() {
                return;
            }
            let Ok(token) = tokens.recv() else {
                return;
            };
            self.take(token);
        }
    }

    fn mask(&mut self) -> Mask {
        match (&self.stage, self.hold) {
            // Whoever must answer in a shape may not end the turn before.
            (Stage::Reasoning, Hold::Answer) => Mask::GoOn,
            (Stage::Reasoning | Stage::Text, _) => Mask::All,
            (Stage::Held, _) => match self.matcher.compute_mask_or_eos() {
                Ok(mask) => Mask::Words(mask.as_slice().to_vec()),
                Err(_) => Mask::None,
            },
        }
    }

    fn take(&mut self, token: u32) {
        match self.stage {
            Stage::Reasoning if Some(token) == self.think_end => {
                self.stage = Stage::after_reasoning(self.hold);
            }
            Stage::Text if Some(token) == self.mark => self.stage = Stage::Held,
            Stage::Reasoning | Stage::Text => {}
            Stage::Held => {
                if !self.matcher.is_stopped() {
                    // An error shows at the next mask.
                    let _ = self.matcher.consume_token(token);
                }
            }
        }
    }
}
