//! The original program's commands: its five programs are this one under other names, and its
//! options become ours before the command line is parsed.

mod recipes;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Command;

use self::recipes::{Fate, RECIPES, Recipe, Tool};
use crate::manners::{self, Hinted};

/// Make ds4-server, ds4-agent, ds4-bench and ds4-eval: links to this program, which does what its
/// name says.
///
/// Commands published for the original program then work, or say why they do not. Without links,
/// `ds4 serve` is `ds4-server`, and so on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make the links in a folder of your PATH.
    Install {
        /// The folder.
        folder: PathBuf,
    },
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let What::Install { folder } = &args.what;
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    for tool in Tool::COMPANIONS {
        let link = folder.join(tool.name());
        make(&program, &link).with_context(|| format!("cannot make {}", link.display()))?;
        manners::say(&format!("{} -> {}", link.display(), program.display()));
    }
    Ok(())
}

/// A link to the program; an older link gives way, a file does not.
fn make(program: &Path, link: &Path) -> std::io::Result<()> {
    if link
        .symlink_metadata()
        .is_ok_and(|found| found.is_symlink())
    {
        std::fs::remove_file(link)?;
    }
    std::os::unix::fs::symlink(program, link)
}

/// The command line that `words` mean, program name first.
///
/// # Errors
/// If an option of the original has no counterpart: it is refused with the reason.
pub(crate) fn rewrite(words: Vec<OsString>, command: &Command) -> Result<Vec<OsString>> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_else(|| "ds4".into());
    let rest: Vec<OsString> = words.collect();
    let tool = Tool::named(Path::new(&program).file_name().unwrap_or(&program));
    let (leading, verb, rest) = match tool {
        Tool::Ds4 => match split(rest, command) {
            Split::Run { leading, rest } => (leading, "run", rest),
            Split::Other(words) => {
                return Ok(std::iter::once(program).chain(words).collect());
            }
        },
        companion => (Vec::new(), companion.verb(), rest),
    };
    if command.find_subcommand(verb).is_none() {
        return Err(Hinted::senseless(
            format!("{}: ds4 has no verb {verb} yet", tool.name()),
            "README.md says what works; ds4 --help lists the verbs",
        ));
    }
    let line = translate(tool, verb, rest)?;
    Ok(["ds4".into()]
        .into_iter()
        .chain(leading)
        .chain(line)
        .collect())
}

enum Split {
    /// A chat or a question: the flags before the verb, what follows it.
    Run {
        leading: Vec<OsString>,
        rest: Vec<OsString>,
    },
    /// Any other verb, help, or nonsense for the parser to explain.
    Other(Vec<OsString>),
}

/// `ds4` without a verb is `ds4 run`.
fn split(words: Vec<OsString>, command: &Command) -> Split {
    let is_global = |word: &OsStr| {
        let word = word.to_str().unwrap_or_default();
        let mut globals = command.get_arguments().filter(|arg| arg.is_global_set());
        globals.any(|arg| {
            let short = arg.get_short().map(|short| format!("-{short}"));
            let long = arg.get_long().map(|long| format!("--{long}"));
            short.as_deref() == Some(word) || long.as_deref() == Some(word)
        })
    };
    let at = words.iter().position(|word| !is_global(word));
    let at = at.unwrap_or(words.len());
    let first = words.get(at).map(|word| word.to_string_lossy());
    match first.as_deref() {
        Some("-h" | "--help" | "-V" | "--version") => Split::Other(words),
        Some(word) if word != "run" && !word.starts_with('-') => Split::Other(words),
        first => {
            let from = at + usize::from(first == Some("run"));
            let rest = words[from..].to_vec();
            let leading = words[..at].to_vec();
            Split::Run { leading, rest }
        }
    }
}

/// The verb and its flags for the options of `tool`.
fn translate(tool: Tool, verb: &str, words: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut verb = OsString::from(verb);
    let mut line: Vec<OsString> = Vec::new();
    let mut operands: Vec<OsString> = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some((recipe, glued)) = find(tool, &word) else {
            line.push(word);
            continue;
        };
        let value = match glued {
            Some(value) => Some(value),
            None if recipe.takes_value => match words.next() {
                Some(value) => Some(value),
                None => {
                    // The parser says best what is missing.
                    line.push(word);
                    continue;
                }
            },
            None => None,
        };
        let shown = word.to_string_lossy();
        let refuse = |why: &str| {
            Err(Hinted::senseless(
                format!("{}: {shown}: {why}", tool.name()),
                "ds4 reference companions lists every option of the original and what became of it",
            ))
        };
        match recipe.fate {
            Fate::Same => line.push(glue(recipe.flags[0], value)),
            Fate::Is(flag) => line.push(glue(flag, value)),
            Fate::Verb(other) => {
                verb = other.into();
                operands.extend(value);
            }
            Fate::Only(allowed, why) => {
                if value.as_deref() != Some(OsStr::new(allowed)) {
                    return refuse(why);
                }
            }
            Fate::Choice(flag, allowed, why) => {
                let known = |value: &OsString| allowed.iter().any(|one| value == OsStr::new(one));
                match value.filter(known) {
                    Some(value) => line.push(glue(flag, Some(value))),
                    None => return refuse(why),
                }
            }
            Fate::Already(why) => manners::say(&format!("note: {shown}: {why}")),
            Fate::Refused(why) => return refuse(why),
        }
    }
    // `inspect` takes the model as its operand.
    if verb == "inspect" {
        let models = line.extract_if(.., |word| model_in(word).is_some());
        operands.extend(models.filter_map(|word| model_in(&word)));
    }
    Ok([verb].into_iter().chain(line).chain(operands).collect())
}

/// `--flag=value`: a value may begin with a dash.
fn glue(flag: &str, value: Option<OsString>) -> OsString {
    let mut word = OsString::from(flag);
    if let Some(value) = value {
        word.push("=");
        word.push(value);
    }
    word
}

/// The file in `--model=FILE`.
fn model_in(word: &OsStr) -> Option<OsString> {
    let bytes = word.as_bytes().strip_prefix(b"--model=")?;
    Some(OsStr::from_bytes(bytes).to_owned())
}

/// The recipe for an option, and its value if that is glued on with `=`.
fn find(tool: Tool, word: &OsStr) -> Option<(&'static Recipe, Option<OsString>)> {
    let word = word.to_str()?;
    let (name, value) = match word.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
        _ => (word, None),
    };
    let recipe = RECIPES
        .iter()
        .find(|recipe| recipe.tools.contains(&tool) && recipe.flags.contains(&name))?;
    // Ours may take a value where the original takes none: then it is for the parser.
    if value.is_some() && !recipe.takes_value {
        return None;
    }
    Some((recipe, value))
}

/// The page of the documentation.
pub(crate) fn reference() -> String {
    let mut text = "\n# Options of the original program\n\n\
         `ds4` understands the options that commands published for the original C program use. \
         `ds4 companions install\n\
         FOLDER` makes `ds4-server`, `ds4-agent`, `ds4-bench` and `ds4-eval`, links to `ds4` that \
         mean `ds4 serve` and so\n\
         on. What has no counterpart is refused with the reason; nothing is ignored.\n\n"
        .to_owned();
    for recipe in RECIPES {
        let flags = recipe.flags.iter().map(|flag| format!("`{flag}`"));
        let flags: Vec<String> = flags.collect();
        let tools: Vec<&str> = recipe.tools.iter().map(|tool| tool.name()).collect();
        let here = match recipe.fate {
            Fate::Same => "the same".to_owned(),
            Fate::Is(flag) => format!("`{flag}`"),
            Fate::Verb(verb) => format!("`ds4 {verb}`"),
            Fate::Only(value, why) => format!("only `{value}`; {why}"),
            Fate::Choice(flag, values, why) => {
                format!(
                    "`{flag}` for `{}`, else refused; {why}",
                    values.join("` and `")
                )
            }
            Fate::Already(why) => format!("nothing to do; {why}"),
            Fate::Refused(why) => format!("refused; {why}"),
        };
        let line = format!("{} ({}): {here}", flags.join(", "), tools.join(", "));
        crate::reference::item(&mut text, &line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn rewritten(line: &str) -> Result<String, String> {
        let words = line.split(' ').map(OsString::from).collect();
        let command = crate::Cli::command();
        let words = rewrite(words, &command).map_err(|error| error.to_string())?;
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        Ok(words.join(" "))
    }

    #[test]
    fn options_of_the_original_become_ours() {
        for (line, expected) in [
            ("./ds4", "ds4 run"),
            ("./ds4 -p hi", "ds4 run --prompt=hi"),
            ("ds4 run -p hi", "ds4 run --prompt=hi"),
            ("ds4 -q -p hi", "ds4 -q run --prompt=hi"),
            ("ds4 -sys x --think-max", "ds4 run --system=x --think=max"),
            ("ds4 --think=low", "ds4 run --think=low"),
            ("ds4 --quality -t 4", "ds4 run --exact --threads=4"),
            ("ds4 --ctx=100000", "ds4 run --ctx=100000"),
            ("ds4 --power 100 --cpu", "ds4 run --device=cpu"),
            ("ds4 --cuda", "ds4 run --device=cuda"),
            ("ds4 --backend cpu", "ds4 run --device=cpu"),
            ("ds4 --backend=cuda", "ds4 run --device=cuda"),
            ("ds4-bench --cuda", "ds4 bench --device=cuda"),
            ("ds4 --dump-logits f", "ds4 run --dump-logits=f"),
            ("ds4 --temp=-1", "ds4 run --temp=-1"),
            ("ds4 -p -v", "ds4 run --prompt=-v"),
            ("ds4 --perplexity-file f", "ds4 perplexity f"),
            ("ds4 --inspect -m f", "ds4 inspect f"),
            ("ds4 --whatever 3", "ds4 run --whatever 3"),
            ("ds4 --help", "ds4 --help"),
            ("ds4 inspect -sys", "ds4 inspect -sys"),
            ("ds4 frobnicate", "ds4 frobnicate"),
        ] {
            assert_eq!(rewritten(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name() {
        for (line, part) in [
            ("ds4 --power 60 -p hi", "--power: "),
            ("ds4 --mtp draft.gguf", "--mtp: "),
            ("ds4 --role worker", "--role: "),
            ("ds4 --backend metal", "--backend: "),
            ("ds4 --metal", "--metal: "),
        ] {
            let error = rewritten(line).expect_err("a refusal");
            assert!(
                error.starts_with("ds4: ") && error.contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn no_option_is_listed_twice() {
        for tool in Tool::ALL {
            let mut seen = std::collections::BTreeSet::new();
            for recipe in RECIPES.iter().filter(|recipe| recipe.tools.contains(&tool)) {
                for flag in recipe.flags {
                    assert!(seen.insert(flag), "{flag} of {}", tool.name());
                }
            }
        }
    }
}
