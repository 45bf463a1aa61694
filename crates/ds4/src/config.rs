//! `ds4 config`: which settings hold, and why.

use anyhow::Result;
use clap::CommandFactory;
use serde_json::{Map, json};

use crate::manners;
use crate::settings::{self, File, Origin};

/// Show which settings hold and where each comes from.
///
/// A flag wins over its environment variable, the variable over the settings file, the file over
/// the default. The file is TOML, one `key = value` a line, with the keys that `ds4 config show`
/// lists.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List every setting, its value and its origin.
    Show {
        /// For programs: one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print where the settings file is, or would be.
    Path,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        What::Show { json } => show(json),
        What::Path => manners::print(&format!("{}\n", settings::path()?.display())),
    }
}

fn show(as_json: bool) -> Result<()> {
    let settings = settings::all(&crate::Cli::command());
    let file = File::load(&settings)?;
    let path = file.path.display().to_string();
    let mut rows = Vec::new();
    let mut object = Map::new();
    for setting in &settings {
        let (value, origin) = file.look_up(setting)?;
        let (word, name) = match origin {
            Origin::Environment => ("environment", setting.variable.as_str()),
            Origin::File => ("file", path.as_str()),
            Origin::Default => ("default", "default"),
        };
        object.insert(
            setting.key.clone(),
            json!({ "value": value, "origin": word, "variable": setting.variable }),
        );
        let value = value.unwrap_or_else(|| "-".to_owned());
        rows.push([setting.key.clone(), value, name.to_owned()]);
    }
    if as_json {
        let all = json!({ "file": path, "exists": file.exists, "settings": object });
        return manners::print(&format!("{all:#}\n"));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let (keys, values) = (width(0).unwrap_or(0), width(1).unwrap_or(0).min(40));
    let mut text = match file.exists {
        true => format!("# settings file: {path}\n"),
        false => format!("# settings file: {path} (not there)\n"),
    };
    for [key, value, origin] in &rows {
        text.push_str(&format!("{key:keys$}  {value:values$}  {origin}\n"));
    }
    manners::print(&text)
}
