//! What each agent must be told to use a server of this program.

use clap::ValueEnum;
use serde_json::json;

use super::KEY;
use super::server::Served;

/// An agent.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Client {
    /// Claude Code, over `/v1/messages`.
    Claude,
    /// Codex, over `/v1/responses`.
    Codex,
    /// opencode, over `/v1/chat/completions`.
    Opencode,
    /// Pi, over `/v1/chat/completions`.
    Pi,
}

/// How an agent is started.
#[derive(Debug)]
pub(super) struct Plan {
    /// What it is called.
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    /// What npm calls it.
    pub(super) package: &'static str,
    /// Variables it gets; [`THE_KEY`] stands for the key.
    pub(super) variables: Vec<(&'static str, String)>,
    /// Variables that would lead it elsewhere.
    pub(super) unset: &'static [&'static str],
    /// A file it reads, by name, for as long as it runs.
    pub(super) file: Option<(&'static str, String)>,
    /// The flag before the file's path.
    pub(super) file_flag: &'static str,
    pub(super) arguments: Vec<String>,
}

/// Stands for the key in a variable.
pub(super) const THE_KEY: &str = "\u{0}key";

/// Most tokens an agent should ask for in one answer: room for long thoughts, and never most of the
/// context.
fn output(context: u64) -> u64 {
    (context / 4).clamp(1, 32_000)
}

impl Client {
    pub(super) fn plan(self, served: &Served) -> Plan {
        match self {
            Self::Claude => claude(served),
            Self::Codex => codex(served),
            Self::Opencode => opencode(served),
            Self::Pi => pi(served),
        }
    }
}

fn claude(served: &Served) -> Plan {
    let (model, context) = (served.model.clone(), served.context.to_string());
    // Titles and summaries need no thoughts; the server knows them by this name.
    let quick = format!("{model}-haiku");
    Plan {
        name: "Claude Code",
        program: "claude",
        package: "@anthropic-ai/claude-code",
        variables: vec![
            ("ANTHROPIC_BASE_URL", served.url.clone()),
            ("ANTHROPIC_AUTH_TOKEN", THE_KEY.to_owned()),
            ("ANTHROPIC_MODEL", model.clone()),
            ("ANTHROPIC_DEFAULT_OPUS_MODEL", model.clone()),
            ("ANTHROPIC_DEFAULT_SONNET_MODEL", model),
            ("ANTHROPIC_DEFAULT_HAIKU_MODEL", quick),
            ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", context.clone()),
            ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", context),
            (
                "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
                output(served.context).to_string(),
            ),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
            // A slow machine reads a long prompt for minutes.
            ("API_TIMEOUT_MS", "3600000".to_owned()),
        ],
        unset: &[
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_USE_VERTEX",
        ],
        file: None,
        file_flag: "",
        arguments: Vec::new(),
    }
}

fn codex(served: &Served) -> Plan {
    let text = |text: &str| json!(text).to_string();
    let settings = [
        ("model", text(&served.model)),
        ("model_provider", text("ds4")),
        ("model_providers.ds4.name", text("ds4")),
        (
            "model_providers.ds4.base_url",
            text(&format!("{}/v1", served.url)),
        ),
        ("model_providers.ds4.env_key", text(KEY)),
        ("model_providers.ds4.wire_api", text("responses")),
        ("model_context_window", served.context.to_string()),
        (
            "model_auto_compact_token_limit",
            (served.context / 10 * 9).to_string(),
        ),
        ("model_reasoning_summary", text("auto")),
    ];
    let flags = settings
        .into_iter()
        .flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")]);
    Plan {
        name: "Codex",
        program: "codex",
        package: "@openai/codex",
        variables: Vec::new(),
        unset: &["OPENAI_BASE_URL"],
        file: None,
        file_flag: "",
        arguments: flags.collect(),
    }
}

fn opencode(served: &Served) -> Plan {
    let model = &served.model;
    let settings = json!({
        "provider": {"ds4": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "ds4",
            "options": {
                "baseURL": format!("{}/v1", served.url),
                "apiKey": format!("{{env:{KEY}}}"),
            },
            "models": {model: {
                "name": model,
                "reasoning": true,
                "tool_call": true,
                // Thoughts come back with the calls they led to.
                "interleaved": {"field": "reasoning_content"},
                "limit": {"context": served.context, "output": output(served.context)},
            }},
        }},
        "model": format!("ds4/{model}"),
        "small_model": format!("ds4/{model}"),
    });
    Plan {
        name: "opencode",
        program: "opencode",
        package: "opencode-ai",
        variables: vec![("OPENCODE_CONFIG_CONTENT", settings.to_string())],
        unset: &[],
        file: None,
        file_flag: "",
        arguments: Vec::new(),
    }
}

fn pi(served: &Served) -> Plan {
    let model = json!({
        "id": served.model,
        "name": served.model,
        "reasoning": true,
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": served.context,
        "maxTokens": output(served.context),
        "compat": {"supportsDeveloperRole": false, "thinkingFormat": "openai"},
    });
    let provider = json!({
        "name": "ds4",
        "baseUrl": format!("{}/v1", served.url),
        "apiKey": KEY,
        "api": "openai-completions",
        "models": [model],
    });
    let extension =
        format!("export default (pi) => {{\n  pi.registerProvider('ds4', {provider:#});\n}};\n");
    Plan {
        name: "Pi",
        program: "pi",
        package: "@mariozechner/pi-coding-agent",
        variables: Vec::new(),
        unset: &[],
        file: Some(("ds4-pi.ts", extension)),
        file_flag: "--extension",
        arguments: ["--provider", "ds4", "--model", &served.model]
            .map(str::to_owned)
            .into(),
    }
}
