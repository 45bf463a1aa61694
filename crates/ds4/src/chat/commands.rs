//! What can be typed in a chat besides questions.

use std::path::PathBuf;

use ds4_prompt::Thinking;

/// A line that begins with a slash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Think(Thinking),
    Context(Option<u32>),
    Read(PathBuf),
    Status,
    Save(Option<PathBuf>),
    Load(PathBuf),
    System(String),
    New,
    Quit,
}

/// Name, operand, and what it does: the text of `/help`.
pub(super) const NAMES: &[(&str, &str, &str)] = &[
    ("/help", "", "show this"),
    (
        "/think",
        "[low|high|max|off]",
        "think before answering, this hard",
    ),
    ("/nothink", "", "answer at once"),
    ("/think-max", "", "think as hard as the model can"),
    (
        "/ctx",
        "[TOKENS]",
        "show the size of the context, or change it; the chat goes on",
    ),
    ("/read", "FILE", "ask what stands in a file"),
    (
        "/status",
        "",
        "what is loaded, how much of the context is used",
    ),
    (
        "/system",
        "[TEXT]",
        "begin anew with another system text, or without one",
    ),
    ("/new", "", "begin anew"),
    ("/save", "[FILE]", "write the conversation to a file"),
    ("/load", "FILE", "go on with a conversation that was saved"),
    ("/quit", "", "leave, as Ctrl-D does"),
];

/// Why a command was not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistake {
    #[error("there is no command {0}{1}; /help lists them")]
    Unknown(String, String),
    #[error("{0} needs {1}")]
    Operand(&'static str, &'static str),
}

/// The command in a line that begins with a slash.
pub(super) fn parse(line: &str) -> Result<Command, Mistake> {
    let (name, operand) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let operand = operand.trim();
    let path = || (!operand.is_empty()).then(|| home(operand));
    let think = |level: &str| match level {
        "off" => Some(Thinking::Off),
        level => Thinking::of_effort_name(level),
    };
    match name {
        "/help" => Ok(Command::Help),
        "/think" => match operand {
            "" => Ok("high"),
            level @ ("off" | "low" | "high" | "max") => Ok(level),
            _ => Err(Mistake::Operand("/think", "low, high, max or off")),
        }
        .map(|level| Command::Think(think(level).expect("a level from the list above"))),
        "/nothink" => Ok(Command::Think(Thinking::Off)),
        "/think-max" => Ok(Command::Think(think("max").expect("a level"))),
        "/ctx" if operand.is_empty() => Ok(Command::Context(None)),
        "/ctx" => match operand.parse() {
            Ok(tokens @ 2..=1_048_576) => Ok(Command::Context(Some(tokens))),
            _ => Err(Mistake::Operand(
                "/ctx",
                "a number of tokens from 2 to 1048576",
            )),
        },
        "/read" => path()
            .map(Command::Read)
            .ok_or(Mistake::Operand("/read", "a file")),
        "/load" => path()
            .map(Command::Load)
            .ok_or(Mistake::Operand("/load", "a file")),
        "/status" => Ok(Command::Status),
        "/save" => Ok(Command::Save(path())),
        "/system" => Ok(Command::System(operand.to_owned())),
        "/new" => Ok(Command::New),
        "/quit" | "/exit" => Ok(Command::Quit),
        _ => {
            let like = |known: &&str| (strsim::jaro_winkler(known, name) * 1e6) as u64;
            let names = NAMES.iter().map(|(known, ..)| *known);
            let nearest = names.max_by_key(like).filter(|known| like(known) > 800_000);
            let meant = nearest.map_or(String::new(), |known| format!(" (did you mean {known}?)"));
            Err(Mistake::Unknown(name.to_owned(), meant))
        }
    }
}

/// `~` is home, as in a shell.
fn home(path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => etcetera::home_dir().map_or_else(|_| path.into(), |home| home.join(rest)),
        None => path.into(),
    }
}

/// The text of `/help`.
pub(super) fn help() -> String {
    let mut text = String::new();
    for (name, operand, what) in NAMES {
        let usage = format!("{name} {operand}");
        text.push_str(&format!("  {usage:28} {what}\n"));
    }
    text + "A line ending in \\ goes on; so does everything between two lines of ```.\n\
            Ctrl-C stops an answer; twice at the prompt it leaves. TAB completes commands.\n"
}

#[cfg(test)]
mod tests {
    use super::{Command, Mistake, NAMES, parse};
    use ds4_prompt::{Effort, Thinking};

    #[test]
    fn commands_and_their_operands() {
        for (line, command) in [
            ("/help", Command::Help),
            ("/think", Command::Think(Thinking::On(Effort::High))),
            ("/think max", Command::Think(Thinking::On(Effort::Max))),
            ("/think-max", Command::Think(Thinking::On(Effort::Max))),
            ("/nothink", Command::Think(Thinking::Off)),
            ("/ctx 4096", Command::Context(Some(4096))),
            ("/ctx", Command::Context(None)),
            ("/read  a b.txt ", Command::Read("a b.txt".into())),
            ("/system Be brief.", Command::System("Be brief.".into())),
            ("/exit", Command::Quit),
        ] {
            assert_eq!(parse(line).as_ref(), Ok(&command), "{line}");
        }
        let said = |line: &str| parse(line).expect_err("a mistake").to_string();
        assert!(said("/ctx many").contains("a number of tokens"));
        assert!(said("/stat").contains("did you mean /status?"));
        assert_eq!(parse("/read"), Err(Mistake::Operand("/read", "a file")));
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for (name, operand, _) in NAMES {
            let line = format!("{name} {}", if operand.starts_with('[') { "" } else { "x" });
            assert!(parse(line.trim()).is_ok(), "{line}");
        }
    }
}
