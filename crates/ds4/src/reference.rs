//! `ds4 reference`: pages of the documentation, made from the one definition of the command line.

use std::fmt::Write;

use anyhow::Result;
use clap::{Arg, Command, CommandFactory, ValueEnum};

use crate::settings::{self, FILE_VARIABLE};
use crate::{companions, manners};

/// Print a page of docs/reference.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which page.
    #[arg(value_enum)]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// Verbs and flags.
    Commands,
    /// Settings: keys of the file, and environment variables.
    Settings,
    /// What became of the original program's options.
    Companions,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = crate::Cli::command();
    command.build();
    let (name, body) = match args.page {
        Page::Commands => ("commands", commands(&command)),
        Page::Settings => ("settings", settings_page(&command)),
        Page::Companions => ("companions", companions::reference()),
    };
    let head = format!(
        "<!-- Made by `ds4 reference {name} > docs/reference/{name}.md`; a test fails when it is \
         stale. -->\n"
    );
    manners::print(&(head + &body))
}

fn commands(command: &Command) -> String {
    let mut text = "\n# Commands\n".to_owned();
    // Writing to a string does not fail.
    let _ = write!(text, "\nFlags that every verb has:\n\n");
    let global = |arg: &&Arg| arg.is_global_set();
    flags(&mut text, command.get_arguments().filter(global));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        one(&mut text, verb, "##");
    }
    text
}

fn one(text: &mut String, command: &Command, level: &str) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let name = command
        .get_display_name()
        .unwrap_or_default()
        .replace('-', " ");
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n{level} {name}\n\n```text\n{usage}\n```\n");
    for paragraph in about.split("\n\n") {
        text.push('\n');
        wrapped(text, paragraph, "");
    }
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
        .collect();
    if !own.is_empty() {
        text.push('\n');
        flags(text, own.into_iter());
    }
    for verb in command.get_subcommands().filter(|v| v.get_name() != "help") {
        one(text, verb, &format!("{level}#"));
    }
}

fn flags<'a>(text: &mut String, args: impl Iterator<Item = &'a Arg>) {
    for arg in args {
        let what = arg.get_long_help().or(arg.get_help());
        let what = what.map(ToString::to_string).unwrap_or_default();
        let mut line = format!("`{}`: {what}", flag(arg));
        let values = arg.get_possible_values();
        if !values.is_empty() && !arg.is_hide_possible_values_set() && takes_value(arg) {
            let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
            let _ = write!(line, ". One of {}", names.join(", "));
        }
        let default = default(arg);
        if !default.is_empty() && !arg.is_hide_default_value_set() {
            let _ = write!(line, ". Default: {default}");
        }
        item(text, &line);
    }
}

/// An item of a list, in lines that fit the page.
pub(crate) fn item(text: &mut String, what: &str) {
    wrapped(text, what, "- ");
}

/// A paragraph in lines that fit the page, indented as `first` is long.
fn wrapped(text: &mut String, what: &str, first: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in what.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = " ".repeat(first.len());
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(text, "{line}");
}

/// Columns of a page.
const WIDTH: usize = 118;

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// `-p, --prompt <TEXT>`.
fn flag(arg: &Arg) -> String {
    // An argument knows its value names only as it prints itself.
    let shown = arg.to_string();
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(_)) => format!("-{short}, {shown}"),
        _ => shown,
    }
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values().iter();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    match values.is_empty() || !takes_value(arg) {
        true => String::new(),
        false => format!("`{}`", values.join(",")),
    }
}

fn settings_page(command: &Command) -> String {
    let mut text = format!(
        "\n# Settings\n\n\
         A flag wins over its environment variable, the variable over the settings file, the file \
         over the default.\n\
         The file is TOML, one `key = value` a line. It is `ds4/config.toml` in the folder for \
         settings (`$XDG_CONFIG_HOME`, else\n\
         `~/.config`), or what `{FILE_VARIABLE}` names. An unknown key is refused. `ds4 config \
         show` says what holds and why.\n\n\
         Key, variable, flag, and the verbs that know it:\n\n"
    );
    for setting in settings::all(command) {
        let default = match default(&setting.arg) {
            default if default.is_empty() => String::new(),
            default => format!(" (default {default})"),
        };
        let line = format!(
            "`{}`, `{}`, `{}`{default}: {}",
            setting.key,
            setting.variable,
            flag(&setting.arg),
            setting.verbs.join(", "),
        );
        item(&mut text, &line);
    }
    text.push_str("\nOther variables:\n\n");
    for (variable, what) in OTHER_VARIABLES {
        item(&mut text, &format!("`{variable}`: {what}"));
    }
    text
}

/// Variables that belong to no flag.
const OTHER_VARIABLES: &[(&str, &str)] = &[
    (FILE_VARIABLE, "another settings file"),
    ("NO_COLOR", "no colours, whatever the terminal can do"),
    (
        "XDG_CONFIG_HOME",
        "where the folder `ds4` with the settings file is",
    ),
    (
        "XDG_STATE_HOME",
        "where the folder `ds4` with the history of the chat is",
    ),
    (
        "XDG_DATA_HOME",
        "where the folder `ds4` with saved chats is",
    ),
];
