//! `--synthetic`: models by name, made in memory.

use ds4_model::synthetic::{self, Contents, Synthetic};
use ds4_model::{Recipe, Shape};

type Known = (&'static str, fn() -> Shape, Recipe);

/// The shapes one can ask for, and the recipe each has unless another is named.
const SHAPES: [Known; 4] = [
    ("flash", Shape::flash, Recipe::Q2),
    ("pro", Shape::pro, Recipe::Q2),
    ("mini", synthetic::mini, Recipe::FLOAT),
    ("wide", synthetic::wide, Recipe::FLOAT),
];

/// A model to be made, and its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    shape: Shape,
    recipe: Recipe,
    is_small: bool,
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (model, layers) = match text.split_once(':') {
            Some((model, layers)) => (model, Some(layers)),
            None => (text, None),
        };
        let (shape, recipe) = match model.split_once('-') {
            Some((shape, recipe)) => (shape, Some(recipe)),
            None => (model, None),
        };
        let Some((_, make, usual)) = SHAPES.into_iter().find(|known| known.0 == shape) else {
            let known = SHAPES.map(|known| known.0).join(", ");
            return Err(format!("there is no shape {shape}; there are {known}"));
        };
        let recipe = match recipe {
            None => usual,
            Some(name) => Recipe::named(name).ok_or_else(|| {
                let known = Recipe::ALL.map(|recipe| recipe.name).join(", ");
                format!("there is no recipe {name}; there are {known}")
            })?,
        };
        let mut made = make();
        if let Some(layers) = layers {
            let has = made.layers();
            let count = layers
                .parse()
                .ok()
                .filter(|count| (1..=has).contains(count));
            let count =
                count.ok_or_else(|| format!("{shape} has 1 to {has} layers, not {layers}"))?;
            made = made.with_layers(count);
        }
        Ok(Self {
            name: text.to_owned(),
            is_small: matches!(shape, "mini" | "wide"),
            shape: made,
            recipe,
        })
    }
}

impl Named {
    /// The model of this seed: the one that `ds4 synth` makes. With `share`, only so many layers
    /// have large matrices of their own and the others repeat them, which a device that copies
    /// weights cannot tell from the whole.
    pub(super) fn model(&self, seed: u64, share: Option<usize>) -> Synthetic {
        Synthetic {
            shape: self.shape.clone(),
            seed,
            recipe: self.recipe.clone(),
            contents: match self.is_small {
                true => Contents::Reference,
                false => Contents::Noise { share },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<(usize, &'static str), String> {
        let named: Named = text.parse()?;
        Ok((named.shape.layers(), named.recipe.name))
    }

    #[test]
    fn models_by_name() {
        assert_eq!(named("flash"), Ok((43, "q2")));
        assert_eq!(named("flash-q2q4:7"), Ok((7, "q2q4")));
        assert_eq!(named("pro-mxfp4"), Ok((61, "mxfp4")));
        assert_eq!(named("mini"), Ok((5, "float")));
        assert_eq!(named("mini-q2:3"), Ok((3, "q2")));
    }

    #[test]
    fn what_cannot_be_made_is_named() {
        for (text, part) in [
            ("flush", "no shape flush"),
            ("flash-q3", "no recipe q3"),
            ("flash:44", "1 to 43 layers, not 44"),
            ("flash:0", "not 0"),
            ("mini:many", "not many"),
            ("", "no shape"),
        ] {
            let error = named(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
