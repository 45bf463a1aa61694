//! From messages to turns: merge, sort, drop.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Answer, Content, Instructions, KeepReasoning, Message, Task};

/// Between the parts of a content, and between the blocks of a user turn.
pub(super) const BLANK_LINE: &str = "\n\n";

/// One turn of the prompt.
pub(super) struct Turn<'a> {
    pub(super) kind: TurnKind<'a>,
    /// Already rendered, by an earlier call.
    pub(super) is_context: bool,
}

pub(super) enum TurnKind<'a> {
    System(&'a Instructions),
    Developer(&'a Instructions),
    User {
        blocks: Vec<Block<'a>>,
        task: Option<Task>,
    },
    Assistant(&'a Answer),
    Reminder(&'a Content),
}

/// One block of a user turn.
pub(super) enum Block<'a> {
    Text(Cow<'a, str>),
    Result {
        call_id: Option<&'a str>,
        text: Cow<'a, str>,
    },
}

impl TurnKind<'_> {
    /// Whether this turn asks for an answer: reasoning is dropped before the last that does.
    fn is_question(&self) -> bool {
        matches!(self, Self::User { .. } | Self::Developer(_))
    }

    pub(super) fn task(&self) -> Option<Task> {
        match self {
            Self::User { task, .. } => *task,
            Self::Assistant(answer) => answer.task,
            _ => None,
        }
    }
}

/// The turns of a conversation, and which assistant turns keep their reasoning.
pub(super) struct Turns<'a> {
    pub(super) list: Vec<Turn<'a>>,
    reasoning: Reasoning,
}

/// Which turns keep their reasoning (while thinking is on).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reasoning {
    All,
    /// Those from the last question on, which is at this index; all if there is none.
    FromQuestion(Option<usize>),
}

impl<'a> Turns<'a> {
    /// Prepares `messages` as they follow `context`.
    pub(super) fn new(
        context: &'a [Message],
        messages: &'a [Message],
        keep: KeepReasoning,
        thinking: bool,
    ) -> Self {
        // Merged apart: a context that was rendered ended its last turn.
        let mut list = merge(context, true);
        list.extend(merge(messages, false));
        sort_results(&mut list);
        if keep_all(&list, keep) {
            let reasoning = Reasoning::All;
            return Self { list, reasoning };
        }
        let mut question = list.iter().rposition(|turn| turn.kind.is_question());
        if let (true, Some(at)) = (thinking, question) {
            let mut index = 0;
            list.retain(|turn| {
                let stays = index >= at || !matches!(turn.kind, TurnKind::Developer(_));
                index += 1;
                stays
            });
            question = list.iter().rposition(|turn| turn.kind.is_question());
        }
        let reasoning = Reasoning::FromQuestion(question);
        Self { list, reasoning }
    }

    /// Whether the answer to the question at `index` opens with reasoning.
    pub(super) fn opens_reasoning(&self, index: usize) -> bool {
        match self.reasoning {
            Reasoning::All | Reasoning::FromQuestion(None) => true,
            Reasoning::FromQuestion(Some(question)) => index >= question,
        }
    }

    /// Whether the assistant turn at `index` shows its reasoning.
    pub(super) fn shows_reasoning(&self, index: usize) -> bool {
        // The answer to a quick task has no reasoning part.
        if index > 0 && self.list[index - 1].kind.task().is_some() {
            return false;
        }
        match self.reasoning {
            Reasoning::All | Reasoning::FromQuestion(None) => true,
            Reasoning::FromQuestion(Some(question)) => index > question,
        }
    }
}

/// Any run of user and tool messages is one user turn; a user message with a task ends its run.
fn merge(messages: &[Message], is_context: bool) -> Vec<Turn<'_>> {
    let mut list: Vec<Turn<'_>> = Vec::with_capacity(messages.len());
    for message in messages {
        let kind = match message {
            Message::System(instructions) => TurnKind::System(instructions),
            Message::Developer(instructions) => TurnKind::Developer(instructions),
            Message::Assistant(answer) => TurnKind::Assistant(answer),
            Message::LatestReminder(content) => TurnKind::Reminder(content),
            Message::Tool { call_id, content } => {
                let block = Block::Result {
                    call_id: call_id.as_deref(),
                    text: content.joined(BLANK_LINE),
                };
                match list.last_mut().map(|turn| &mut turn.kind) {
                    Some(TurnKind::User { blocks, .. }) => {
                        blocks.push(block);
                        continue;
                    }
                    _ => TurnKind::User {
                        blocks: vec![block],
                        task: None,
                    },
                }
            }
            Message::User { content, task } => {
                let block = Block::Text(content.joined(BLANK_LINE));
                match list.last_mut().map(|turn| &mut turn.kind) {
                    Some(TurnKind::User {
                        blocks,
                        task: open @ None,
                    }) => {
                        blocks.push(block);
                        *open = *task;
                        continue;
                    }
                    _ => TurnKind::User {
                        blocks: vec![block],
                        task: *task,
                    },
                }
            }
        };
        list.push(Turn { kind, is_context });
    }
    list
}

/// Puts the results of each user turn in the order of the calls they answer; texts keep their
/// places.
fn sort_results(list: &mut [Turn<'_>]) {
    let mut order: HashMap<&str, usize> = HashMap::new();
    for turn in list {
        match &mut turn.kind {
            TurnKind::Assistant(answer) if !answer.calls.is_empty() => {
                let calls = answer.calls.iter().enumerate();
                order = calls
                    .filter_map(|(i, call)| Some((call.id.as_deref()?, i)))
                    .collect();
            }
            TurnKind::User { blocks, .. } => sort_turn(blocks, &order),
            _ => {}
        }
    }
}

/// Results that answer no known call count as answers to the first.
fn sort_turn(blocks: &mut Vec<Block<'_>>, order: &HashMap<&str, usize>) {
    let is_result = |block: &Block<'_>| matches!(block, Block::Result { .. });
    let mut slots = Vec::new();
    let mut results = Vec::new();
    let mut rest = Vec::with_capacity(blocks.len());
    for (i, block) in blocks.drain(..).enumerate() {
        if is_result(&block) {
            slots.push(i);
            results.push(block);
        } else {
            rest.push(block);
        }
    }
    results.sort_by_key(|block| match block {
        Block::Result {
            call_id: Some(id), ..
        } => order.get(id).copied().unwrap_or(0),
        _ => 0,
    });
    let (mut results, mut rest) = (results.into_iter(), rest.into_iter());
    let mut slots = slots.into_iter().peekable();
    for i in 0.. {
        let next = match slots.next_if_eq(&i) {
            Some(_) => results.next(),
            None => rest.next(),
        };
        match next {
            Some(block) => blocks.push(block),
            None => break,
        }
    }
}

/// Whether no turn loses its reasoning.
fn keep_all(list: &[Turn<'_>], keep: KeepReasoning) -> bool {
    let has_tools = || {
        list.iter().any(|turn| match &turn.kind {
            TurnKind::System(i) | TurnKind::Developer(i) => !i.tools.is_empty(),
            _ => false,
        })
    };
    let has_calls = || {
        list.iter().any(|turn| match &turn.kind {
            TurnKind::Assistant(answer) => !answer.calls.is_empty(),
            TurnKind::User { blocks, .. } => blocks
                .iter()
                .any(|block| matches!(block, Block::Result { .. })),
            _ => false,
        })
    };
    match keep {
        KeepReasoning::Always => true,
        KeepReasoning::WithTools => has_tools(),
        KeepReasoning::WithToolsOrCalls => has_tools() || has_calls(),
    }
}
