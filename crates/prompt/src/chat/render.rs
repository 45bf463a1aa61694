//! From turns to a prompt.

use super::prepare::{BLANK_LINE, Block, Turn, TurnKind, Turns};
use super::texts::{RESPONSE_FORMAT_HEAD, TOOLS_HEAD, TOOLS_TAIL};
use super::{Answer, ChatError, ClosingTags, Ending, Instructions, Message, OddArguments, Task};
use crate::json::Value;
use crate::prompt::CutKind;
use crate::{Generation, Prompt, Special, Thinking, dsml};

/// What may be chosen about a prompt. The default is this project's; [`Settings::official`] is the
/// reference encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which checkpoints the prompt is for.
    pub generation: Generation,
    /// Whether the model reasons, and how hard.
    pub thinking: Thinking,
    /// When earlier turns keep their reasoning.
    pub keep_reasoning: KeepReasoning,
    /// Where the tools stand.
    pub tools: ToolsPlace,
    /// What the prompt begins with.
    pub start: Start,
    /// Closing tags inside arguments.
    pub closing_tags: ClosingTags,
    /// Arguments that are JSON, but no object.
    pub odd_arguments: OddArguments,
}

/// When earlier turns keep their reasoning in a prompt that asks for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepReasoning {
    /// If tools are given, or the history has calls: inside a tool loop the model goes on from what
    /// it thought.
    #[default]
    WithToolsOrCalls,
    /// If tools are given: the official rule.
    WithTools,
    /// Always.
    Always,
}

/// Where the tools block stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolsPlace {
    /// After the system text, as the model was trained.
    #[default]
    AfterText,
    /// Before it: conversations with the same tools and different system texts then share more of
    /// their beginning.
    BeforeText,
}

/// What the prompt begins with, if no context precedes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// BOS.
    #[default]
    Bos,
    /// Nothing: somebody else writes BOS.
    Bare,
}

impl Settings {
    /// This project's choices.
    pub fn new(generation: Generation, thinking: Thinking) -> Self {
        Self {
            generation,
            thinking,
            keep_reasoning: KeepReasoning::default(),
            tools: ToolsPlace::default(),
            start: Start::default(),
            closing_tags: ClosingTags::default(),
            odd_arguments: OddArguments::default(),
        }
    }

    /// Exactly what the reference encoder does.
    pub fn official(generation: Generation, thinking: Thinking) -> Self {
        Self {
            keep_reasoning: KeepReasoning::WithTools,
            closing_tags: ClosingTags::Raw,
            odd_arguments: OddArguments::Refuse,
            ..Self::new(generation, thinking)
        }
    }
}

/// The prompt of a conversation.
pub fn render(messages: &[Message], settings: &Settings) -> Result<Prompt, ChatError> {
    render_after(&[], messages, settings)
}

/// What `messages` add to the prompt of `context`, which was rendered before: no BOS, no effort
/// text.
pub fn render_after(
    context: &[Message],
    messages: &[Message],
    settings: &Settings,
) -> Result<Prompt, ChatError> {
    let thinking = settings.thinking.is_on();
    let turns = Turns::new(context, messages, settings.keep_reasoning, thinking);
    let mut out = Prompt::default();
    if context.is_empty() {
        if settings.start == Start::Bos {
            out.token(Special::Bos);
        }
        if let Thinking::On(effort) = settings.thinking {
            out.control(settings.generation.effort_text(effort));
        }
    }
    let renderer = Renderer { settings, turns };
    for (index, turn) in renderer.turns.list.iter().enumerate() {
        if !turn.is_context {
            renderer.turn(index, turn, &mut out)?;
        }
    }
    Ok(out.finish())
}

struct Renderer<'a> {
    settings: &'a Settings,
    turns: Turns<'a>,
}

impl Renderer<'_> {
    fn turn(&self, index: usize, turn: &Turn<'_>, out: &mut Prompt) -> Result<(), ChatError> {
        match &turn.kind {
            TurnKind::System(instructions) => {
                self.instructions(instructions, out);
                out.cut(CutKind::System);
            }
            TurnKind::Developer(instructions) => {
                if instructions.content.joined(BLANK_LINE).is_empty() {
                    return Err(ChatError::EmptyDeveloper { index });
                }
                out.token(Special::User);
                self.instructions(instructions, out);
                out.cut(CutKind::User);
            }
            TurnKind::User { blocks, .. } => {
                out.token(Special::User);
                user_blocks(blocks, out);
                out.cut(CutKind::User);
            }
            TurnKind::Assistant(answer) => {
                self.answer(index, answer, out)?;
                if answer.ending == Ending::Closed {
                    out.token(Special::Eos);
                    out.cut(CutKind::Assistant);
                }
            }
            TurnKind::Reminder(content) => {
                out.token(Special::LatestReminder);
                out.data(&content.joined(BLANK_LINE));
            }
        }
        if self.answer_follows(index) {
            self.opener(index, &turn.kind, out);
        }
        Ok(())
    }

    /// Whether the assistant speaks next: the last turn, or one before its answer (a reminder may
    /// come between).
    fn answer_follows(&self, index: usize) -> bool {
        match self.turns.list.get(index + 1) {
            None => true,
            Some(next) => matches!(next.kind, TurnKind::Assistant(_) | TurnKind::Reminder(_)),
        }
    }

    /// What makes the model speak, and about what.
    fn opener(&self, index: usize, turn: &TurnKind<'_>, out: &mut Prompt) {
        let asks = matches!(turn, TurnKind::User { .. } | TurnKind::Developer(_));
        match turn.task() {
            Some(Task::Action) => {
                out.token(Special::Assistant);
                out.token(think_token(self.settings.thinking.is_on()));
                out.token(Special::Action);
            }
            Some(task) => out.token(task.token()),
            None if asks => {
                let reasons = self.settings.thinking.is_on() && self.turns.opens_reasoning(index);
                out.token(Special::Assistant);
                out.token(think_token(reasons));
            }
            None => {}
        }
    }

    /// System text, tools and response format.
    fn instructions(&self, instructions: &Instructions, out: &mut Prompt) {
        let text = instructions.content.joined(BLANK_LINE);
        match (instructions.tools.as_slice(), self.settings.tools) {
            ([], _) => out.data(&text),
            (tools, ToolsPlace::AfterText) => {
                out.data(&text);
                out.control(BLANK_LINE);
                tools_block(tools, out);
            }
            (tools, ToolsPlace::BeforeText) => {
                tools_block(tools, out);
                // The block ends with a newline of its own.
                out.control(if text.is_empty() { "" } else { "\n" });
                out.data(&text);
            }
        }
        if let Some(schema) = &instructions.response_format {
            out.control(BLANK_LINE);
            out.control(RESPONSE_FORMAT_HEAD);
            out.data(&schema.to_prompt());
        }
    }

    /// An assistant turn up to its EOS.
    fn answer(&self, index: usize, answer: &Answer, out: &mut Prompt) -> Result<(), ChatError> {
        if self.settings.thinking.is_on() && self.turns.shows_reasoning(index) {
            out.data(&answer.reasoning);
            out.token(Special::ThinkEnd);
        }
        out.data(&answer.content.joined(""));
        if !answer.calls.is_empty() {
            out.control(BLANK_LINE);
            let Settings {
                closing_tags,
                odd_arguments,
                ..
            } = *self.settings;
            dsml::write::write(&answer.calls, closing_tags, odd_arguments, out)?;
        }
        Ok(())
    }
}

fn think_token(reasons: bool) -> Special {
    match reasons {
        true => Special::ThinkBegin,
        false => Special::ThinkEnd,
    }
}

fn tools_block(tools: &[Value], out: &mut Prompt) {
    out.control(TOOLS_HEAD);
    for (i, tool) in tools.iter().enumerate() {
        if i > 0 {
            out.control("\n");
        }
        out.data(&tool.to_prompt());
    }
    out.control(TOOLS_TAIL);
}

fn user_blocks(blocks: &[Block<'_>], out: &mut Prompt) {
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 {
            out.control(BLANK_LINE);
        }
        match block {
            Block::Text(text) => out.data(text),
            Block::Result { text, .. } => {
                out.control("<tool_result>");
                out.data(text);
                out.control("</tool_result>");
            }
        }
    }
}
