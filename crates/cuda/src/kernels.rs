//! The kernels by name, looked up once.

use std::sync::Arc;

use ds4_gguf::Format;

use crate::Error;
use crate::coded::Coded;
use crate::dense::Dense;
use crate::device::{Device, Kernel};

/// Formats that matrices come in, in the order of [`Kernels::of`].
const FORMATS: [Format; 8] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q8_0,
    Format::Q2K,
    Format::Q4K,
    Format::Iq2Xxs,
    Format::Mxfp4,
];

/// Most rows that meet a weight as it is decoded, or as floats on tensor cores.
pub(crate) const FEW: usize = 8;

/// Most rows of a step whose kernels read each weight once; more go by tiles.
pub(crate) const SOME: usize = 64;

/// Kernels that read a weight.
#[derive(Debug)]
pub(crate) struct OfFormat {
    pub(crate) embed: Kernel,
    /// For up to 1, 2, 4 and 8 rows.
    pub(crate) matvec: [Kernel; 4],
    pub(crate) matmul: Kernel,
    pub(crate) gate_up: Kernel,
    pub(crate) down: Kernel,
    /// On tensor cores: dense in large tiles and small ones, and of experts inward and outward.
    pub(crate) tiles: Kernel,
    pub(crate) tiles_slim: Kernel,
    pub(crate) tiles_gated: Kernel,
    pub(crate) tiles_down: Kernel,
    /// Experts of few rows.
    pub(crate) narrow_gated: Kernel,
    pub(crate) narrow_down: Kernel,
    pub(crate) narrow_down_one: Kernel,
    /// The same by integers, where it has kernels.
    pub(crate) coded: Option<Coded>,
    /// Number of the format among those of a launch of many products.
    pub(crate) number: u32,
    /// Windows that a warp of `narrow.cu` keeps on their way.
    pub(crate) on_way: usize,
    /// Bytes of shared memory of large tiles, and of small ones.
    pub(crate) tile_bytes: u32,
    pub(crate) slim_bytes: u32,
}

/// Tokens of a large tile, as in `tiles.cu`; small ones have half of them.
pub(crate) const WIDE_TOKENS: usize = 128;

/// Bytes of shared memory that tiles of this many tokens take, as in `tiles.cu`: three windows of
/// each, where each lies, and a table for formats that have one, several times where there is room.
fn tile_bytes(device: &Device, tokens: usize, format: Format) -> u32 {
    let copies = match device.shared() > 160 << 10 {
        _ if format != Format::Iq2Xxs => 0,
        true => 8,
        false => 1,
    };
    (tokens * (3 * 256 + 4)) as u32 + 2048 * copies
}

macro_rules! kernels {
    ($($name:ident),* $(,)?) => {
        /// Every kernel of the backend.
        #[derive(Debug)]
        pub(crate) struct Kernels {
            formats: Vec<OfFormat>,
            /// Products with codes, for more and more rows.
            pub(crate) dense: Vec<Dense>,
            $(pub(crate) $name: Kernel,)*
        }

        impl Kernels {
            pub(crate) fn new(device: &Arc<Device>) -> Result<Self, Error> {
                let formats = FORMATS.iter().map(|format| OfFormat::new(device, *format));
                Ok(Self {
                    formats: formats.collect::<Result<_, _>>()?,
                    dense: Dense::all(device)?,
                    $($name: device.kernel(stringify!($name))?,)*
                })
            }
        }
    };
}

kernels!(
    angles,
    spread,
    add,
    rms_norm,
    hyper_enter,
    hyper_leave,
    hyper_head,
    settle,
    query_heads,
    index_heads,
    latent_kv,
    window_commit,
    pool_windows,
    emit_rows,
    index_score,
    index_top,
    attend,
    attend_join,
    route,
    gather_picks,
    gated,
    combine,
    to_half,
    from_half,
    to_codes,
    hyper_enter_tiles,
    score_tiles,
    score_many,
    attend_tiles,
    attend_many,
    expand_rows,
    attend_few,
    narrow_1,
    narrow_2,
    narrow_4,
    narrow_8,
    mix_parts,
    mix_join,
    pass,
    after_inward,
    turn_heads,
    choose,
);

impl Kernels {
    /// The kernels that read weights of `format`.
    pub(crate) fn of(&self, format: Format) -> &OfFormat {
        &self.formats[place(format)]
    }
}

fn place(format: Format) -> usize {
    let place = FORMATS.iter().position(|known| *known == format);
    place.expect("binding admits weight formats only")
}

impl OfFormat {
    fn new(device: &Arc<Device>, format: Format) -> Result<Self, Error> {
        let kernel = |name: &str| device.kernel(&format!("{name}_{format}"));
        let few = |rows: usize| device.kernel(&format!("matvec_{format}_{rows}"));
        let [wide, slim] =
            [WIDE_TOKENS, WIDE_TOKENS / 2].map(|tokens| tile_bytes(device, tokens, format));
        let tiles = |name: &str, bytes| {
            let tiles = kernel(name)?;
            device.allow_shared(tiles, bytes)?;
            Ok::<_, Error>(tiles)
        };
        Ok(Self {
            tiles: tiles("tiles", wide)?,
            tiles_slim: tiles("tiles_slim", slim)?,
            tiles_gated: tiles("tiles_gated", wide)?,
            tiles_down: tiles("tiles_down", wide)?,
            narrow_gated: kernel("narrow_gated")?,
            narrow_down: kernel("narrow_down")?,
            narrow_down_one: kernel("narrow_down_one")?,
            coded: coded(device, format, kernel)?,
            number: place(format) as u32,
            on_way: match format {
                Format::Q8_0 | Format::Q2K | Format::Mxfp4 | Format::Iq2Xxs => 4,
                Format::F16 | Format::BF16 | Format::Q4K => 2,
                _ => 1,
            },
            tile_bytes: wide,
            slim_bytes: slim,
            embed: kernel("embed")?,
            matvec: [few(1)?, few(2)?, few(4)?, few(8)?],
            matmul: kernel("matmul")?,
            gate_up: kernel("gate_up")?,
            down: kernel("down")?,
        })
    }
}

/// Kernels of `coded.cu`, with as much shared memory as there is.
fn coded(
    device: &Arc<Device>,
    format: Format,
    kernel: impl Fn(&str) -> Result<Kernel, Error>,
) -> Result<Option<Coded>, Error> {
    let coded = Coded::of(format, kernel)?;
    for kernel in coded.iter().flat_map(|coded| [coded.gated, coded.down]) {
        device.allow_shared(kernel, device.shared())?;
    }
    Ok(coded)
}
