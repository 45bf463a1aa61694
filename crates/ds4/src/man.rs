//! `ds4 man`: manual pages.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};

use crate::manners::{self, Hinted};

/// Print the manual page of ds4 or of one of its verbs, or write all of them to a folder
///
/// Read one: ds4 man run | man -l -
/// Install all: ds4 man --install ~/.local/share/man/man1
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The verb; ds4 itself without one.
    #[arg(conflicts_with = "install")]
    verb: Option<String>,
    /// Write ds4.1 and one page a verb into this folder.
    #[arg(long, value_name = "FOLDER")]
    install: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = crate::Cli::command();
    command.build();
    let Some(folder) = &args.install else {
        let command = match &args.verb {
            None => &command,
            Some(verb) => command.find_subcommand(verb).ok_or_else(|| {
                Hinted::senseless(format!("there is no verb {verb}"), "ds4 --help lists them")
            })?,
        };
        return manners::print(&page(command)?);
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut written = 0;
    for command in std::iter::once(&command).chain(verbs) {
        let path = folder.join(format!("{}.1", name(command)));
        std::fs::write(&path, page(command)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        written += 1;
    }
    manners::say(&format!("{written} pages in {}", folder.display()));
    Ok(())
}

/// `ds4` or `ds4-run`.
fn name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command) -> Result<String> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render(&mut page).context("cannot write the page")?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
