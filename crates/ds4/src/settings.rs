//! Settings: a flag, else an environment variable, else the settings file, else a default.
//!
//! There is no list of settings. A flag with a `DS4_` variable is one, and the variable's name in
//! small letters, without the prefix, is its key in the file: `--ctx`, `DS4_CTX`, `ctx`. What the
//! file says becomes the default of the flag before the command line is read, so that every check
//! of a flag holds for all three.

use std::collections::BTreeMap;
use std::env;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Arg, Command};
use etcetera::BaseStrategy;

use crate::manners::Hinted;

/// What the variables of settings begin with.
const PREFIX: &str = "DS4_";

/// The variable that names another settings file.
pub(crate) const FILE_VARIABLE: &str = "DS4_CONFIG";

/// Something that can be set.
pub(crate) struct Setting {
    /// Its key in the file.
    pub(crate) key: String,
    /// Its environment variable.
    pub(crate) variable: String,
    /// Its flag.
    pub(crate) arg: Arg,
    /// The verbs that have it.
    pub(crate) verbs: Vec<String>,
}

/// Every setting of `command` and its verbs, by key.
pub(crate) fn all(command: &Command) -> Vec<Setting> {
    let mut found = BTreeMap::<String, Setting>::new();
    for arg in command.get_arguments() {
        add(&mut found, arg, "every verb");
    }
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        for arg in verb.get_arguments().filter(|arg| !arg.is_global_set()) {
            add(&mut found, arg, verb.get_name());
        }
    }
    found.into_values().collect()
}

fn add(found: &mut BTreeMap<String, Setting>, arg: &Arg, verb: &str) {
    let Some((key, variable)) = key(arg) else {
        return;
    };
    let setting = found.entry(key.clone()).or_insert_with(|| Setting {
        key,
        variable,
        arg: arg.clone(),
        verbs: Vec::new(),
    });
    setting.verbs.push(verb.to_owned());
}

/// The key in the file and the variable, if the flag is a setting.
fn key(arg: &Arg) -> Option<(String, String)> {
    let variable = arg.get_env()?.to_str()?;
    let key = variable.strip_prefix(PREFIX)?.to_lowercase();
    Some((key, variable.to_owned()))
}

impl Setting {
    /// What it is without any setting; none if that depends on the machine.
    pub(crate) fn default(&self) -> Option<String> {
        if !self.arg.get_action().takes_values() {
            return Some("false".to_owned());
        }
        let values = self.arg.get_default_values();
        let words = values.iter().map(|value| value.to_string_lossy());
        let words: Vec<_> = words.collect();
        (!words.is_empty()).then(|| words.join(","))
    }

    /// Refuses a value that the flag would refuse.
    fn check(&self, value: &str, origin: &str) -> Result<()> {
        let long = self.arg.get_long().unwrap_or(&self.key).to_owned();
        let arg = Arg::new(self.key.clone())
            .long(long.clone())
            .value_parser(self.arg.get_value_parser().clone());
        let alone = Command::new("ds4").no_binary_name(true).arg(arg);
        let Err(error) = alone.try_get_matches_from([format!("--{long}={value}")]) else {
            return Ok(());
        };
        let text = error.to_string();
        // The rest is about command lines.
        let reason: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        let reason = reason.join(" ");
        Err(Hinted::senseless(
            format!("{origin}: {}", reason.trim_start_matches("error: ")),
            format!(
                "ds4 config show lists the settings; {} is one of them",
                self.key
            ),
        ))
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Its environment variable.
    Environment,
    /// The settings file.
    File,
    /// Nothing was set.
    Default,
}

/// The settings file, read and checked.
pub(crate) struct File {
    /// Where it is, or would be.
    pub(crate) path: PathBuf,
    /// Whether it is there.
    pub(crate) exists: bool,
    values: BTreeMap<String, String>,
}

/// Where the settings file is.
pub(crate) fn path() -> Result<PathBuf> {
    match env::var_os(FILE_VARIABLE) {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Ok(folders()?.config_dir().join("ds4").join("config.toml")),
    }
}

/// The folders of this user, as the XDG rules name them.
pub(crate) fn folders() -> Result<impl BaseStrategy> {
    etcetera::choose_base_strategy().context("cannot tell the home folder: set HOME")
}

impl File {
    /// Reads the file, if there is one. One that was named must be there.
    pub(crate) fn load(settings: &[Setting]) -> Result<Self> {
        let path = path()?;
        let shown = path.display();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if env::var_os(FILE_VARIABLE).is_some_and(|name| !name.is_empty()) {
                    return Err(Hinted::senseless(
                        format!("there is no settings file {shown}"),
                        format!("{FILE_VARIABLE} names it: make the file, or unset the variable"),
                    ));
                }
                return Ok(Self {
                    path,
                    exists: false,
                    values: BTreeMap::new(),
                });
            }
            Err(error) => return Err(error).context(format!("cannot read {shown}")),
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Hinted::senseless(
                format!("{shown}, line {line}: {}", error.message()),
                "a settings file has lines such as ctx = 32768 or model = \"/models/flash.gguf\"",
            )
        })?;
        let origin = path.display().to_string();
        let values = table
            .iter()
            .map(|(key, value)| read(&origin, key, value, settings))
            .collect::<Result<_>>()?;
        Ok(Self {
            path,
            exists: true,
            values,
        })
    }

    /// `command` with what the file says as defaults.
    pub(crate) fn apply(&self, command: Command) -> Command {
        let of = |arg: &Arg| key(arg).and_then(|(key, _)| self.values.get(&key));
        command
            .mut_args(|arg| match of(&arg) {
                Some(value) => {
                    let value = value.clone();
                    arg.default_value(value)
                }
                None => arg,
            })
            .mut_subcommands(|verb| self.apply(verb))
    }

    /// What a setting is, were no flag given, and why.
    pub(crate) fn look_up(&self, setting: &Setting) -> Result<(Option<String>, Origin)> {
        if let Some(value) = env::var_os(&setting.variable) {
            let value = value.to_string_lossy().into_owned();
            setting.check(&value, &setting.variable)?;
            return Ok((Some(value), Origin::Environment));
        }
        if let Some(value) = self.values.get(&setting.key) {
            return Ok((Some(value.clone()), Origin::File));
        }
        Ok((setting.default(), Origin::Default))
    }
}

/// A line of the file as the value of a flag.
fn read(
    origin: &str,
    key: &str,
    value: &toml::Value,
    settings: &[Setting],
) -> Result<(String, String)> {
    let Some(setting) = settings.iter().find(|setting| setting.key == key) else {
        let like = |setting: &&Setting| (strsim::jaro_winkler(&setting.key, key) * 1e6) as u64;
        let nearest = settings
            .iter()
            .max_by_key(like)
            .filter(|s| like(s) > 700_000);
        let hint = match nearest {
            Some(setting) => format!("did you mean {}?", setting.key),
            None => "ds4 config show lists the settings".to_owned(),
        };
        return Err(Hinted::senseless(
            format!("{origin}: there is no setting {key}"),
            hint,
        ));
    };
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(yes) => yes.to_string(),
        _ => {
            let message = format!("{origin}: {key} is a {}", value.type_str());
            return Err(Hinted::senseless(message, "it must be one value"));
        }
    };
    setting.check(&text, origin)?;
    Ok((key.to_owned(), text))
}
