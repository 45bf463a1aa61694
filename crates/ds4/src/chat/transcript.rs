//! Conversations as files: JSON that people can read and change.
//!
//! `{"ds4_chat": 1, "model": ..., "messages": [...]}`, the messages in the form of the official
//! encoder. What a session has computed is not in it: that is the machine's to find again.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use ds4_prompt::chat::{Message, official};
use ds4_prompt::json::{self, Grammar, Value};
use etcetera::BaseStrategy;
use serde_json::json;

use crate::manners::Hinted;
use crate::settings;

const VERSION: u32 = 1;

/// Larger than a million tokens of text.
const MOST_BYTES: u64 = 64 << 20;

/// Writes a conversation; it appears when it is complete, and only its owner can read it.
pub(super) fn save(path: &Path, model: &str, messages: &[Message]) -> Result<()> {
    let messages: Vec<serde_json::Value> = messages.iter().filter_map(written).collect();
    let all = json!({ "ds4_chat": VERSION, "model": model, "messages": messages });
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        // Readable by its owner alone, as temporary files are.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(format!("{all:#}\n").as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A new file in the folder for conversations.
pub(super) fn new_path() -> Result<PathBuf> {
    let folder = settings::folders()?.data_dir().join("ds4").join("chats");
    private_folder(&folder)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    Ok(folder.join(format!("chat-{seconds}.json")))
}

/// Makes a folder that only its owner can look into.
pub(super) fn private_folder(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))
}

/// Reads a conversation that [`save`] wrote.
pub(crate) fn load(path: &Path) -> Result<Vec<Message>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let mut text = String::new();
    let read = file.take(MOST_BYTES + 1).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {shown}"))?;
    if text.len() as u64 > MOST_BYTES {
        bail!(
            "{shown} is larger than {} MB: no conversation",
            MOST_BYTES >> 20
        );
    }
    let value = json::parse(&text, Grammar::Python)
        .with_context(|| format!("{shown} is not a saved conversation"))?;
    let Value::Object(fields) = &value else {
        return Err(foreign(path));
    };
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| &**key == name)
            .map(|(_, value)| value)
    };
    match field("ds4_chat").map(Value::to_prompt).as_deref() {
        Some("1") => {}
        Some(version) => bail!("{shown} has version {version}; this program reads {VERSION}"),
        None => return Err(foreign(path)),
    }
    let messages = field("messages").ok_or_else(|| foreign(path))?;
    official::messages_of(messages).with_context(|| format!("{shown} is not as it was saved"))
}

fn foreign(path: &Path) -> anyhow::Error {
    Hinted::failure(
        format!("{} is not a saved conversation", path.display()),
        "/save in a chat writes one",
    )
}

/// A message of a chat in the official form; the chat makes no others.
fn written(message: &Message) -> Option<serde_json::Value> {
    match message {
        Message::System(instructions) => {
            Some(json!({ "role": "system", "content": instructions.content.joined("\n\n") }))
        }
        Message::User { content, .. } => {
            Some(json!({ "role": "user", "content": content.joined("\n\n") }))
        }
        Message::Assistant(answer) => Some(json!({
            "role": "assistant",
            "reasoning_content": answer.reasoning,
            "content": answer.content.joined(""),
        })),
        _ => None,
    }
}
