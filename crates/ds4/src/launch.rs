//! `ds4 launch`: a coding agent on a server of this program.

mod client;
mod server;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};

use self::client::{Client, Plan};
use self::server::Served;
use crate::interrupts;
use crate::manners::{self, Hinted};

/// The variable that holds the key, for this program and for the agents it starts.
const KEY: &str = "DS4_API_KEY";

/// What stands for a key where none is asked for: agents do not start without one.
const NO_KEY: &str = "none";

/// Start a coding agent on a server of this program: Claude Code, Codex, opencode or Pi.
///
/// Asks the server for its model and context, and starts the agent with settings that lead there.
/// They are given as variables, flags or a file in a temporary folder: what you have set up for the
/// agent stays as it is, and holds again the next time you start it without ds4.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Which agent.
    #[arg(value_enum)]
    client: Client,
    /// Where the server is.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// A file whose first line is the key, where the server asks for one. Without it the variable
    /// `DS4_API_KEY` is the key.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Print what would be set and run, as lines for a shell, and start nothing. The key itself is
    /// not printed.
    #[arg(long)]
    print: bool,
    /// What follows -- goes to the agent.
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  ds4 launch claude
  ds4 launch codex -- exec 'Why does the build fail?'
  ds4 launch opencode --url http://desk.lan:8000 --api-key-file ~/.config/ds4/key
  ds4 launch pi --print";

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let key = args.key()?;
    let served = server::ask(&args.url, key.as_deref())?;
    let plan = args.client.plan(&served);
    if args.print {
        return manners::print(&shown(&plan, &args.arguments));
    }
    let program = find(plan.program).ok_or_else(|| {
        Hinted::failure(
            format!(
                "{} is not installed: no {} on the PATH",
                plan.name, plan.program
            ),
            format!("npm install -g {}", plan.package),
        )
    })?;
    let status = start(args, &program, &plan, &served, key)?;
    match code(status) {
        0 => Ok(()),
        code => std::process::exit(code),
    }
}

impl Args {
    fn key(&self) -> Result<Option<String>> {
        let Some(file) = &self.api_key_file else {
            return Ok(env::var(KEY).ok().filter(|key| !key.is_empty()));
        };
        let shown = file.display();
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read the key in {shown}"))?;
        let mut lines = text.lines().map(|line| line.split('#').next());
        let key = lines.find_map(|line| line.map(str::trim).filter(|key| !key.is_empty()));
        let key = key.ok_or_else(|| {
            Hinted::senseless(
                format!("there is no key in {shown}"),
                "write it in one line",
            )
        })?;
        Ok(Some(key.to_owned()))
    }
}

/// Runs the agent to its end.
fn start(
    args: &Args,
    program: &Path,
    plan: &Plan,
    served: &Served,
    key: Option<String>,
) -> Result<ExitStatus> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut command = Command::new(program);
    for name in plan.unset {
        command.env_remove(name);
    }
    let key = key.unwrap_or_else(|| NO_KEY.to_owned());
    for (name, value) in &plan.variables {
        command.env(name, value.replace(client::THE_KEY, &key));
    }
    command.env(KEY, &key);
    if let Some((name, text)) = &plan.file {
        let path = folder.path().join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        command.arg(plan.file_flag).arg(path);
    }
    command.args(&plan.arguments).args(&args.arguments);
    manners::say(&format!(
        "{} on {}: {}, {} tokens of context",
        plan.name, served.url, served.model, served.context
    ));
    // Ctrl-C is for the agent; this program outlives it, to tidy up.
    interrupts::catch()?;
    let status = command.status();
    status.with_context(|| format!("cannot start {}", program.display()))
}

/// How the agent ended, as shells put it.
fn code(status: ExitStatus) -> i32 {
    let signal = || status.signal().map_or(1, |signal| 128 + signal);
    status.code().unwrap_or_else(signal)
}

/// A program on the PATH.
fn find(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let is_program = |path: &PathBuf| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(is_program)
}

/// The plan as lines for a shell.
fn shown(plan: &Plan, more: &[OsString]) -> String {
    let mut text = format!(
        "# {}; {KEY} must hold the server's key, if it asks for one\n",
        plan.name
    );
    text.push_str(&format!("export {KEY}=\"${{{KEY}:-{NO_KEY}}}\"\n"));
    for name in plan.unset {
        text.push_str(&format!("unset {name}\n"));
    }
    for (name, value) in &plan.variables {
        match value == client::THE_KEY {
            true => text.push_str(&format!("export {name}=\"${KEY}\"\n")),
            false => text.push_str(&format!("export {name}={}\n", quoted(value))),
        }
    }
    let mut words = vec![plan.program.to_owned()];
    if let Some((name, content)) = &plan.file {
        text.push_str(&format!("cat > {name} <<'END'\n{content}END\n"));
        words.extend([plan.file_flag.to_owned(), format!("./{name}")]);
    }
    let more = more.iter().map(|word| word.to_string_lossy());
    words.extend(plan.arguments.iter().map(|word| quoted(word)));
    words.extend(more.map(|word| quoted(&word)));
    text.push_str(&words.join(" "));
    text.push('\n');
    text
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(
            quoted("http://127.0.0.1:8000/v1"),
            "http://127.0.0.1:8000/v1"
        );
        assert_eq!(quoted("a \"b\" $c"), "'a \"b\" $c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
