//! Every option of the original's programs and what becomes of it here. One table, in the order of
//! its help.

use std::ffi::OsStr;

/// A program of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Ds4,
    Server,
    Agent,
    Bench,
    Eval,
}

impl Tool {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] = ALL;
    /// Those that are links.
    pub(super) const COMPANIONS: [Self; 4] = [Self::Server, Self::Agent, Self::Bench, Self::Eval];

    /// The program of this file name.
    pub(super) fn named(name: &OsStr) -> Self {
        let is = |tool: &Self| name == tool.name();
        Self::COMPANIONS.into_iter().find(is).unwrap_or(Self::Ds4)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ds4 => "ds4",
            Self::Server => "ds4-server",
            Self::Agent => "ds4-agent",
            Self::Bench => "ds4-bench",
            Self::Eval => "ds4-eval",
        }
    }

    /// The verb it is here.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Ds4 => "run",
            Self::Server => "serve",
            Self::Agent => "agent",
            Self::Bench => "bench",
            Self::Eval => "eval",
        }
    }
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Ours has the name that stands first.
    Same,
    /// This flag of ours.
    Is(&'static str),
    /// Makes it another verb, with the value as its operand.
    Verb(&'static str),
    /// Nothing has to be done for this value, and other values are refused.
    Only(&'static str, &'static str),
    /// This flag of ours, with these values of it; others are refused.
    Choice(&'static str, &'static [&'static str], &'static str),
    /// It is always so here, which is said.
    Already(&'static str),
    /// There is nothing like it.
    Refused(&'static str),
}

/// An option of some of the programs.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Its names.
    pub(super) flags: &'static [&'static str],
    /// Whether a value follows.
    pub(super) takes_value: bool,
    /// The programs that have it.
    pub(super) tools: &'static [Tool],
    /// What becomes of it.
    pub(super) fate: Fate,
}

/// An option with a value.
const fn with(flags: &'static [&'static str], tools: &'static [Tool], fate: Fate) -> Recipe {
    Recipe {
        flags,
        takes_value: true,
        tools,
        fate,
    }
}

/// An option that stands alone.
const fn bare(flags: &'static [&'static str], tools: &'static [Tool], fate: Fate) -> Recipe {
    Recipe {
        flags,
        takes_value: false,
        tools,
        fate,
    }
}

use Fate::{Already, Choice, Is, Only, Refused, Same, Verb};
use Tool::{Agent, Bench, Ds4, Eval, Server};

const ALL: [Tool; 5] = [Ds4, Server, Agent, Bench, Eval];
const EVERY: &[Tool] = &ALL;
const SPEAKS: &[Tool] = &[Ds4, Agent, Eval];
const ANSWERS: &[Tool] = &[Ds4, Server, Agent, Eval];

const NO_BACKEND: &str = "this program computes on NVIDIA cards and the CPU";
const NO_CARDS: &str = "weights cannot be spread over cards yet";
const NO_STREAMING: &str = "weights are mapped: the system reads what is not in memory by itself, \
     and there is no cache of experts to size";
const NO_DRAFTING: &str = "speculative decoding is not there yet";
const NO_STEERING: &str = "steering is not there yet";
const NO_MACHINES: &str = "there is no inference over several machines";
const NO_IMATRIX: &str = "importance matrices cannot be collected yet";
const NO_KV: &str = "the store of conversations has other settings";
const SELFTEST: &str = "ds4 selftest compares every kernel of this machine with the reference";

/// The table.
pub(super) const RECIPES: &[Recipe] = &[
    // Model and run time.
    with(&["--model", "-m"], EVERY, Same),
    bare(&["--cpu"], EVERY, Is("--device=cpu")),
    bare(&["--cuda"], EVERY, Is("--device=cuda")),
    bare(&["--metal", "--rocm"], EVERY, Refused(NO_BACKEND)),
    with(
        &["--backend"],
        EVERY,
        Choice("--device", &["cuda", "cpu"], NO_BACKEND),
    ),
    with(&["--gpu-vram", "--gpu-devices"], EVERY, Refused(NO_CARDS)),
    bare(&["--cuda-tensor-parallel"], EVERY, Refused(NO_CARDS)),
    with(&["--ctx", "-c"], ANSWERS, Same),
    with(&["--tokens", "-n"], ANSWERS, Same),
    with(&["--threads", "-t"], EVERY, Same),
    with(
        &["--power"],
        EVERY,
        Only("100", "the speed of the device cannot be held back"),
    ),
    bare(
        &["--ssd-streaming"],
        EVERY,
        Already("weights are mapped from the file and read when they are first used"),
    ),
    bare(&["--ssd-streaming-cold"], EVERY, Refused(NO_STREAMING)),
    with(
        &[
            "--ssd-streaming-cache-experts",
            "--ssd-streaming-full-layers",
            "--ssd-streaming-preload-experts",
        ],
        EVERY,
        Refused(NO_STREAMING),
    ),
    with(
        &["--simulate-used-memory"],
        EVERY,
        Refused("use a control group: systemd-run -p MemoryMax="),
    ),
    with(
        &["--prefill-chunk"],
        EVERY,
        Refused(
            "the engine measures how much of a prompt fits into a step and does not take a size",
        ),
    ),
    with(&["--mtp", "--mtp-model"], EVERY, Refused(NO_DRAFTING)),
    with(
        &["--mtp-draft", "--mtp-margin", "--dspark-confidence"],
        EVERY,
        Refused(NO_DRAFTING),
    ),
    bare(
        &[
            "--mtp-timing",
            "--mtp-exact-sampling",
            "--dspark",
            "--dspark-strict",
        ],
        EVERY,
        Refused(NO_DRAFTING),
    ),
    bare(
        &["--glm-mtp", "--glm-mtp-timing"],
        EVERY,
        Refused("ds4 runs DeepSeek V4 only"),
    ),
    bare(&["--quality"], EVERY, Is("--exact")),
    bare(&["--warm-weights"], EVERY, Same),
    with(
        &["--expert-profile"],
        EVERY,
        Refused("expert use is not recorded"),
    ),
    with(
        &["--vision"],
        EVERY,
        Refused("images are not understood yet"),
    ),
    // Prompt and sampling.
    with(&["--temp"], SPEAKS, Same),
    with(&["--top-p"], SPEAKS, Same),
    with(&["--min-p"], SPEAKS, Same),
    with(&["--seed"], SPEAKS, Same),
    bare(&["--think"], SPEAKS, Same),
    bare(&["--think-max"], SPEAKS, Is("--think=max")),
    bare(&["--nothink"], SPEAKS, Same),
    with(
        &["--think-level"],
        SPEAKS,
        Refused("a level by number belongs to V4.1; see --think"),
    ),
    with(&["--system", "-sys"], EVERY, Same),
    with(&["--prompt", "-p"], &[Ds4, Agent], Same),
    with(&["--prompt-file"], &[Ds4, Bench], Same),
    with(
        &["--prefix-file"],
        &[Ds4],
        Refused("a prefix of turns is a chat: see --load"),
    ),
    bare(&["--raw", "--raw-prompt"], &[Ds4], Same),
    // Steering.
    with(
        &[
            "--dir-steering-file",
            "--dir-steering-ffn",
            "--dir-steering-attn",
        ],
        &[Ds4, Server, Agent],
        Refused(NO_STEERING),
    ),
    with(&["--dir-steering-policy"], &[Server], Refused(NO_STEERING)),
    // Several machines.
    with(
        &[
            "--role",
            "--layers",
            "--listen",
            "--coordinator",
            "--dist-prefill-chunk",
            "--dist-prefill-window",
            "--dist-activation-bits",
            "--transport",
            "--rdma-device",
            "--rdma-gid-index",
            "--debug-hash",
        ],
        EVERY,
        Refused(NO_MACHINES),
    ),
    bare(
        &[
            "--dist-replay-check",
            "--debug",
            "--tensor-parallel",
            "--tensor-parallel-token-prefill",
        ],
        EVERY,
        Refused(NO_MACHINES),
    ),
    // Diagnostics of ds4.
    bare(&["--inspect"], &[Ds4], Verb("inspect")),
    bare(&["--dump-tokens"], &[Ds4], Same),
    with(&["--dump-logits"], &[Ds4], Same),
    with(&["--dump-logprobs"], &[Ds4], Same),
    with(&["--logprobs-top-k"], &[Ds4], Same),
    with(
        &["--decode-consistency"],
        &[Ds4],
        Refused("any cut of a prompt gives the same logits; cargo test -p ds4-engine shows it"),
    ),
    with(&["--perplexity-file"], &[Ds4], Verb("perplexity")),
    with(
        &[
            "--imatrix-dataset",
            "--imatrix-out",
            "--imatrix-max-prompts",
            "--imatrix-max-tokens",
            "--imatrix-min-expert-samples",
        ],
        &[Ds4],
        Refused(NO_IMATRIX),
    ),
    bare(
        &[
            "--head-test",
            "--first-token-test",
            "--metal-graph-test",
            "--metal-graph-full-test",
            "--metal-graph-prompt-test",
        ],
        &[Ds4],
        Refused(SELFTEST),
    ),
    with(&["--ui-logo"], &[Ds4], Refused("there is no logo")),
    bare(&["--server"], &[Ds4], Refused("use ds4-server")),
    // The server.
    with(&["--host"], &[Server], Same),
    with(&["--port"], &[Server], Same),
    bare(&["--cors"], &[Server], Same),
    with(
        &[
            "--max-queue",
            "--batched-session",
            "--mixed-prefill-quantum",
        ],
        &[Server],
        Refused("the scheduler admits what fits into memory and measures its steps"),
    ),
    with(&["--trace"], &[Server], Same),
    with(
        &["--trace"],
        &[Agent, Eval],
        Refused("there are no traces yet"),
    ),
    with(&["--kv-disk-dir", "--kv-disk-space-mb"], &[Server], Same),
    with(
        &[
            "--kv-cache-min-tokens",
            "--kv-cache-cold-max-tokens",
            "--kv-cache-continued-interval-tokens",
            "--kv-cache-boundary-trim-tokens",
            "--kv-cache-boundary-align-tokens",
        ],
        &[Server],
        Refused(NO_KV),
    ),
    bare(
        &["--kv-cache-reject-different-quant"],
        &[Server],
        Refused(NO_KV),
    ),
    bare(
        &["--disable-exact-dsml-tool-replay"],
        &[Server],
        Refused("the replay of tool calls is exact or not at all"),
    ),
    with(&["--tool-memory-max-ids"], &[Server], Refused(NO_KV)),
    // The agent.
    bare(&["--non-interactive"], &[Agent], Same),
    bare(
        &["--edit-upto"],
        &[Agent],
        Refused("edits replace exact text"),
    ),
    with(&["--chdir"], &[Agent], Refused("use cd")),
    // The benchmark.
    with(&["--chat-prompt-file"], &[Bench], Same),
    with(&["--ctx-start"], &[Bench], Same),
    with(&["--ctx-max"], &[Bench], Same),
    with(&["--ctx-alloc"], &[Bench], Same),
    with(&["--step-mul"], &[Bench], Same),
    with(&["--step-incr"], &[Bench], Same),
    with(&["--gen-tokens", "--tokens", "-n"], &[Bench], Same),
    with(&["--csv"], &[Bench], Same),
    with(
        &["--dump-frontier-logits-dir"],
        &[Bench],
        Refused("the engine gives log-probabilities: ds4 logprobs"),
    ),
    // The evaluation.
    with(
        &["--questions", "--case-sequence", "--regrade-trace"],
        &[Eval],
        Same,
    ),
    with(
        &[
            "--soft-limit-reply-budget",
            "--hard-limit-reply-budget",
            "--soft-limit-think-close-rank",
            "--pause-ms",
        ],
        &[Eval],
        Same,
    ),
    bare(&["--plain", "--self-test-extractors"], &[Eval], Same),
];
