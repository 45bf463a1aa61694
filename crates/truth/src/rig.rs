//! A backend with a model on it, driven by hand: plain sessions, no engine.

use ds4_model::forward::{draft, forward, layer};
use ds4_model::kv::PAGE_TOKENS;
use ds4_model::{Backend, Outputs, Plan, Scratch, Shape, Weights};

/// A model on a backend. Pages are handed out in order, slot by slot, and never shared.
pub struct Rig<B: Backend> {
    /// The backend.
    pub backend: B,
    /// The model's weights on it.
    pub weights: Weights<B::Tensor>,
    /// Where a step works.
    pub scratch: Scratch<B::Buffer, B::Picks>,
    shape: Shape,
    pages: Vec<Vec<u32>>,
    handed_out: u32,
    plan: Plan,
}

impl<B: Backend<Error: std::fmt::Debug>> Rig<B> {
    /// Puts everything in place; all slots are empty sessions.
    pub fn new(mut backend: B, shape: &Shape, weights: Weights<B::Tensor>) -> Self {
        let scratch = Scratch::new(&mut backend, shape).unwrap();
        for slot in 0..backend.slots() as u32 {
            backend.clear_slot(slot).unwrap();
        }
        let pages = vec![Vec::new(); backend.slots()];
        let (shape, plan) = (shape.clone(), Plan::new());
        Self {
            backend,
            weights,
            scratch,
            shape,
            pages,
            handed_out: 0,
            plan,
        }
    }

    /// The model's sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The pages of a slot.
    pub fn pages(&self, slot: u32) -> &[u32] {
        &self.pages[slot as usize]
    }

    /// Forgets what a slot holds; its pages are used again.
    pub fn clear(&mut self, slot: u32) {
        self.backend.clear_slot(slot).unwrap();
        self.backend
            .set_pages(slot, &self.pages[slot as usize])
            .unwrap();
    }

    /// Gives `slot` pages for `tokens` tokens.
    pub fn reserve(&mut self, slot: u32, tokens: usize) {
        let table = &mut self.pages[slot as usize];
        while table.len() * PAGE_TOKENS < tokens {
            table.push(self.handed_out);
            self.handed_out += 1;
        }
        self.backend.set_pages(slot, table).unwrap();
    }

    /// Begins a plan of these runs: (slot, first position, tokens, which logits).
    pub fn begin(&mut self, runs: &[(u32, u32, &[u32], Outputs)]) {
        self.plan.clear();
        for &(slot, first, tokens, outputs) in runs {
            self.reserve(slot, first as usize + tokens.len());
            self.plan.push(slot, first, tokens, outputs).unwrap();
        }
        self.backend.begin(&self.plan).unwrap();
    }

    /// One step of the whole model; the logits of every output row.
    pub fn step(&mut self, runs: &[(u32, u32, &[u32], Outputs)]) -> Vec<Vec<f32>> {
        self.begin(runs);
        forward(&mut self.backend, &self.weights, &mut self.scratch).unwrap();
        self.logits()
    }

    /// All logits of a prompt, `chunk` tokens a step.
    pub fn prompt(&mut self, slot: u32, tokens: &[u32], chunk: usize) -> Vec<Vec<f32>> {
        let mut all = Vec::with_capacity(tokens.len());
        for (number, part) in tokens.chunks(chunk).enumerate() {
            let first = (number * chunk) as u32;
            all.extend(self.step(&[(slot, first, part, Outputs::All)]));
        }
        all
    }

    /// One step of the draft block on the streams that the last step left; `next` are the tokens after its rows.
    pub fn draft(&mut self, slot: u32, first: u32, next: &[u32]) -> Vec<Vec<f32>> {
        self.begin(&[(slot, first, next, Outputs::All)]);
        let block = self
            .weights
            .draft
            .as_ref()
            .expect("the model has a draft block");
        draft(&mut self.backend, &self.weights, block, &mut self.scratch).unwrap();
        self.logits()
    }

    /// The streams before the first layer.
    pub fn embed(&mut self) {
        self.backend
            .embed(&mut self.scratch.x, &self.weights.embed)
            .unwrap();
        self.backend
            .spread(&mut self.scratch.streams, &self.scratch.x)
            .unwrap();
    }

    /// Runs one layer (or the draft block's) on the streams in the scratch.
    pub fn layer(&mut self, number: usize) {
        let w = match self.weights.layers.get(number) {
            Some(layer) => layer,
            None => {
                &self
                    .weights
                    .draft
                    .as_ref()
                    .expect("the model has a draft block")
                    .layer
            }
        };
        layer(&mut self.backend, number, w, &mut self.scratch).unwrap();
    }

    /// The streams of all rows.
    pub fn streams(&mut self) -> Vec<f32> {
        self.backend.read(&self.scratch.streams).unwrap().to_vec()
    }

    fn logits(&mut self) -> Vec<Vec<f32>> {
        let logits = self.backend.read(&self.scratch.logits).unwrap();
        logits
            .chunks_exact(self.shape.vocab)
            .map(<[f32]>::to_vec)
            .collect()
    }
}
