//! Intermediates of one token, layer by layer: seen on a backend, and compared with the goldens.

use std::collections::BTreeMap;

use ds4_model::kv::PAGE_TOKENS;
use ds4_model::probe::{Call, Probe, Probed};
use ds4_model::{Backend, Frequencies, Outputs, Ratio, RopeTable, Rounding, RowCodec, rope};
use serde_json::Value;

use crate::Rig;
use crate::check::nan_is_far;
use crate::golden::{Block, floats, list};

/// Intermediates of one layer, by the names the goldens give them.
pub type Layer = BTreeMap<&'static str, Vec<f32>>;

/// Notes the intermediates of steps of one row.
#[derive(Debug, Default)]
pub struct Witness {
    is_watching: bool,
    layers: Vec<Layer>,
    /// Sub-layers entered.
    entered: usize,
}

impl Witness {
    fn note(&mut self, name: &'static str, values: Vec<f32>) {
        let layer = self.layers.last_mut().expect("a layer was entered");
        layer.insert(name, values);
    }

    fn note_picks(&mut self, ids: &'static str, weights: &'static str, picks: &[(u32, f32)]) {
        self.note(ids, picks.iter().map(|(id, _)| *id as f32).collect());
        self.note(weights, picks.iter().map(|(_, weight)| *weight).collect());
    }
}

impl<B: Backend> Probe<B> for Witness {
    fn operation(&mut self, o: &mut B, call: &mut Call<'_, B>) -> Result<(), B::Error> {
        call.run(o)?;
        if !self.is_watching {
            return Ok(());
        }
        match call {
            Call::HyperEnter { x, mix, .. } => {
                self.entered += 1;
                if self.entered % 2 == 1 {
                    self.layers.push(Layer::new());
                    self.note("attn_in", o.read(x)?.to_vec());
                    let mix = o.read(mix)?;
                    self.note("attn_post", mix[..4].to_vec());
                    self.note("attn_comb", mix[4..].to_vec());
                }
            }
            Call::HyperLeave { y, .. } => {
                let name = ["ffn_out", "attn_out"][self.entered % 2];
                self.note(name, o.read(y)?.to_vec());
            }
            Call::QueryHeads { q, .. } => self.note("q", o.read(q)?.to_vec()),
            Call::IndexHeads { q, .. } => self.note("index_q", o.read(q)?.to_vec()),
            Call::IndexSelect {
                picks,
                head_weights,
                ..
            } => {
                self.note("index_weights", o.read(head_weights)?.to_vec());
                self.note_picks("selected", "no weights", &o.read_picks(picks, 0)?);
            }
            Call::Attend { heads, .. } => self.note("attn_heads", o.read(heads)?.to_vec()),
            Call::Route { picks, .. } => {
                self.note_picks("experts", "expert_weights", &o.read_picks(picks, 0)?);
            }
            _ => {}
        }
        Ok(())
    }
}

impl<B: Backend<Error: std::fmt::Debug>> Rig<Probed<B, Witness>> {
    /// The intermediates of the last of these tokens, in slot 0. The tokens before it are run
    /// `chunk` a step.
    pub fn trace(&mut self, tokens: &[u32], chunk: usize) -> Vec<Layer> {
        let (last, before) = tokens.split_last().unwrap();
        self.clear(0);
        self.prompt(0, before, chunk);
        let at = before.len() as u32;
        self.watch(|rig| {
            rig.step(&[(0, at, &[*last], Outputs::None)]);
        });
        self.finish(0, tokens.len())
    }

    /// The same of a block alone that is fed its streams; `fill` puts streams into a buffer.
    pub fn trace_block(
        &mut self,
        block: &Block,
        tokens: &[u32],
        fill: impl Fn(&mut B::Buffer, &[f32]),
    ) -> Layer {
        let (last, before) = tokens.split_last().unwrap();
        let width = self.shape().stream_width();
        let streams = block.streams(self.shape());
        let (old, new) = streams.split_at(before.len() * width);
        let at = before.len() as u32;
        self.clear(0);
        self.begin(&[(0, 0, before, Outputs::None)]);
        fill(&mut self.scratch.streams, old);
        self.layer(block.layer);
        self.begin(&[(0, at, &[*last], Outputs::None)]);
        fill(&mut self.scratch.streams, &new[..width]);
        self.watch(|rig| rig.layer(block.layer));
        self.finish(block.layer, tokens.len())
            .pop()
            .expect("one layer was run")
    }

    /// Runs something whose intermediates are noted.
    fn watch(&mut self, run: impl FnOnce(&mut Self)) {
        self.backend.probe = Witness {
            is_watching: true,
            ..Witness::default()
        };
        run(self);
    }

    /// What was noted of the layers from `first` on, with what no operation shows.
    fn finish(&mut self, first: usize, tokens: usize) -> Vec<Layer> {
        let mut layers = std::mem::take(&mut self.backend.probe).layers;
        let at = tokens as u32 - 1;
        self.note_latents(&mut layers, first, at);
        self.note_scores(&mut layers, first, tokens);
        self.turn_heads(&mut layers, first, at);
        layers
    }

    fn codec(&self) -> RowCodec {
        RowCodec::new(self.backend.geometry(), Rounding::Model)
    }

    /// The latent rows of position `at`, the last of a frontier.
    fn note_latents(&mut self, layers: &mut [Layer], first: usize, at: u32) {
        let mut frontier = Vec::new();
        self.backend
            .save_frontier(0, at + 1, &mut frontier)
            .unwrap();
        let (codec, g) = (self.codec(), self.backend.geometry());
        let (row, rows) = (g.latent_bytes, g.window_before(at + 1).len());
        for (number, layer) in layers.iter_mut().enumerate() {
            let place = 8 + ((first + number) * rows + rows - 1) * row;
            let mut values = vec![0.0; self.shape().head_width];
            codec.read_latent(&frontier[place..place + row], &mut values);
            layer.insert("kv", values);
        }
    }

    /// The scores of the index rows: no operation shows them, but what they are made of.
    fn note_scores(&mut self, layers: &mut [Layer], first: usize, tokens: usize) {
        let mut pages = Vec::new();
        for page in self.pages(0).to_vec() {
            let mut bytes = vec![0; self.backend.geometry().page_bytes];
            self.backend.save_page(page, &mut bytes).unwrap();
            pages.push(bytes);
        }
        let (codec, g) = (self.codec(), self.backend.geometry());
        let (d, heads) = (self.shape().index_width, self.shape().index_heads);
        let scale = 1.0 / ((d * heads) as f32).sqrt();
        for (layer, at) in layers.iter_mut().zip(&g.layers[first..]) {
            let Some(q) = layer.get("index_q") else {
                continue;
            };
            let score = |row: usize| {
                let place = at.index + row % at.rows * g.index_bytes;
                let bytes = &pages[row * 4 / PAGE_TOKENS][place..place + g.index_bytes];
                let mut key = vec![0.0; d];
                codec.read_index(bytes, &mut key);
                let dots = q.chunks_exact(d).map(|q| {
                    let dot: f32 = q.iter().zip(&key).map(|(q, k)| q * k).sum();
                    dot.max(0.0)
                });
                let all = dots.zip(&layer["index_weights"]).map(|(dot, w)| dot * w);
                scale * all.sum::<f32>()
            };
            let scores = (0..Ratio::Four.rows(tokens)).map(score).collect();
            layer.insert("index_scores", scores);
        }
    }

    /// The goldens have the heads as attention leaves them, before their rope is taken back.
    fn turn_heads(&mut self, layers: &mut [Layer], first: usize, at: u32) {
        let shape = self.shape();
        let frequencies = Frequencies::new(&shape.rope, shape.rotary);
        let mut angles = vec![(1.0, 0.0); shape.rotary / 2];
        // A draft block, which follows the last layer, has a window alone.
        let ratios = shape.ratios.iter().chain([&Ratio::None]);
        for (layer, ratio) in layers.iter_mut().zip(ratios.skip(first)) {
            let table = match ratio {
                Ratio::None => RopeTable::Window,
                _ => RopeTable::Compressed,
            };
            frequencies.angles(table, at, &mut angles);
            let heads = layer.get_mut("attn_heads").expect("every layer attends");
            for head in heads.chunks_exact_mut(shape.head_width) {
                rope::rotate(head, &angles);
            }
        }
    }
}

/// How far the intermediates of a layer are from the goldens, by name: relative to the root mean
/// square of an intermediate, or absolute where that is below one. Covers every name of the
/// goldens.
pub fn distances(found: &Layer, golden: &Value) -> BTreeMap<String, f64> {
    let golden = golden.as_object().expect("a layer of a trace");
    let one = |(name, golden): (&String, &Value)| {
        let found: Vec<f64> = match found.get(name.as_str()) {
            Some(values) => values.iter().map(|v| f64::from(*v)).collect(),
            None => return (name.clone(), f64::INFINITY),
        };
        (name.clone(), distance(&found, golden))
    };
    golden.iter().map(one).collect()
}

fn distance(found: &[f64], golden: &Value) -> f64 {
    let squares = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let farthest = |found: &[f64], golden: &[f64]| {
        let pairs = found.iter().zip(golden);
        pairs
            .map(|(f, g)| nan_is_far((f - g).abs()))
            .fold(0.0, f64::max)
    };
    let root = (found.len() as f64).sqrt();
    // Long ones are given as sums and ends.
    if golden.is_object() {
        let (first, last) = (floats(&golden["first"]), floats(&golden["last"]));
        let [sum, sumsq] = ["sum", "sumsq"].map(|name| golden[name].as_f64().unwrap());
        let count = list(&golden["shape"])
            .iter()
            .map(|n| n.as_u64().unwrap())
            .product::<u64>();
        if count as usize != found.len() {
            return f64::INFINITY;
        }
        let size = (sumsq.sqrt() / root).max(1.0);
        let ends = farthest(found, &first).max(farthest(&found[found.len() - last.len()..], &last));
        let sums = (found.iter().sum::<f64>() - sum).abs() / root;
        let squares = (squares(found) - sumsq).abs() / (root * size);
        return nan_is_far(ends.max(sums).max(squares) / size);
    }
    let golden: Vec<f64> = match list(golden).first() {
        Some(Value::Array(_)) => list(golden).iter().flat_map(floats).collect(),
        _ => floats(golden),
    };
    if golden.len() != found.len() {
        return f64::INFINITY;
    }
    farthest(found, &golden) / (squares(&golden).sqrt() / root).max(1.0)
}
