//! `ds4 completions`: what a shell needs to complete command lines.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::manners;

/// Print a completion script for a shell
///
/// bash: ds4 completions bash > ~/.local/share/bash-completion/completions/ds4
/// zsh:  ds4 completions zsh > a folder of your fpath, as _ds4
/// fish: ds4 completions fish > ~/.config/fish/completions/ds4.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "ds4", &mut script);
    manners::print(&String::from_utf8_lossy(&script))
}
