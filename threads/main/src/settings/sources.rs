//! Where settings come from: environment, command line and settings file, in this precedence.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{self, FileError, Reader, FILE_NAME, SYSTEM_FILE};
use super::DATA_DIR_DEFAULT;
use crate::args::{self, Flags, Given, VARIABLE_PREFIX};

/// Environment variables of the process, or of a test.
pub type Environment = HashMap<String, String>;

/// The settings that were given, and where.
#[derive(Debug)]
pub struct Sources {
    /// The values.
    pub flags: Flags,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    /// What is to be logged.
    pub warnings: Vec<Warning>,
    /// Names of settings as their sources write them, by flag. Flags of the command line are absent.
    names: HashMap<&'static str, String>,
}

impl Sources {
    /// Returns the name of a setting as it was given: `-rpc-host`, `BITCOIN_RPC_HOST`, or `rpc-host in FILE`.
    pub fn name_of(&self, flag: &str) -> String {
        self.names.get(flag.trim_start_matches('-')).cloned().unwrap_or_else(|| flag.to_owned())
    }
}

/// Something in the sources that is ignored or dangerous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    UnknownKey { path: PathBuf, key: String, nearest: &'static str },
    UnknownVariable { variable: String, nearest: String },
    PublicPassword(PathBuf),
    IgnoredFile { path: PathBuf, used: PathBuf },
    UnreadableFile { path: PathBuf },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { path, key, nearest } => {
                write!(f, "unknown setting {key:?} in {} ignored; did you mean {nearest}?", path.display())
            }
            Self::UnknownVariable { variable, nearest } => {
                write!(f, "unknown environment variable {variable:?} ignored; did you mean {nearest}?")
            }
            Self::PublicPassword(path) => {
                let path = path.display();
                write!(f, "RPC password in {path} is readable by all users: chmod o-r {path}")
            }
            Self::IgnoredFile { path, used } => {
                write!(f, "settings file {} ignored: {} is used", path.display(), used.display())
            }
            Self::UnreadableFile { path } => {
                write!(f, "settings file {} ignored: this user may not read it", path.display())
            }
        }
    }
}

/// Why the sources cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("both {one} and {other} are set, to different values: keep one of them")]
    TwoVariables { one: String, other: String },
    #[error("{0} is empty: name a settings file, or leave it out")]
    EmptyPath(String),
}

/// Merges all sources.
///
/// # Errors
/// The settings file cannot be read or is wrong, or two variables contradict each other.
pub fn merge(given: &Given, environment: &Environment, reader: Reader<'_>) -> Result<Sources, SourceError> {
    let mut warnings = Vec::new();
    let variables = variables(environment, &mut warnings)?;
    let outside = |flag: &str| match variables.get(flag) {
        Some((variable, value)) => Some((variable.clone(), value.as_str())),
        None => Some((format!("-{flag}"), given.get(flag)?.as_str())),
    };
    let file = match outside("config") {
        Some((name, "")) => return Err(SourceError::EmptyPath(name)),
        Some((_, path)) => {
            let path = PathBuf::from(path);
            let content = reader(&path).map_err(|cause| FileError::Unreadable { path: path.clone(), cause })?;
            Some((path, content))
        }
        None => search(outside("data-dir").map_or(DATA_DIR_DEFAULT, |(_, dir)| dir), reader, &mut warnings)?,
    };
    let mut names = HashMap::new();
    let mut values = Given::new();
    if let Some((path, content)) = &file {
        for (flag, value) in file::parse(path, content, &mut warnings)? {
            names.insert(flag, format!("{flag} in {}", path.display()));
            values.insert(flag, value);
        }
        let is_in_data_dir = outside("config").is_none() && path != Path::new(SYSTEM_FILE);
        if is_in_data_dir && values.contains_key("data-dir") {
            return Err(FileError::MovesDataDir(path.clone()).into());
        }
    }
    for (flag, value) in given {
        names.remove(flag);
        values.insert(flag, value.clone());
    }
    for (flag, (variable, value)) in variables {
        names.insert(flag, variable);
        values.insert(flag, value);
    }
    Ok(Sources { flags: args::flags_of(&values), file: file.map(|(path, _)| path), warnings, names })
}

/// Returns the variables that are set and not empty, by flag. An empty variable counts as not set because some appliances set
/// all variables they know.
fn variables(
    environment: &Environment,
    warnings: &mut Vec<Warning>,
) -> Result<HashMap<&'static str, (String, String)>, SourceError> {
    let mut found: HashMap<&'static str, (String, String)> = HashMap::new();
    for flag in args::settings() {
        for variable in [flag.variable().into_owned(), flag.prefixed_variable()] {
            let Some(value) = environment.get(&variable).filter(|value| !value.is_empty()) else { continue };
            match found.get(flag.name) {
                Some((other, same)) if same == value || *other == variable => {}
                Some((other, _)) => return Err(SourceError::TwoVariables { one: other.clone(), other: variable }),
                None => {
                    found.insert(flag.name, (variable, value.clone()));
                }
            }
        }
    }
    let is_known = |variable: &str| args::settings().any(|flag| flag.prefixed_variable() == variable);
    let mut unknown: Vec<&String> =
        environment.keys().filter(|name| name.starts_with(VARIABLE_PREFIX) && !is_known(name)).collect();
    unknown.sort_unstable();
    warnings.extend(unknown.into_iter().map(|variable| Warning::UnknownVariable {
        variable: variable.clone(),
        nearest: args::nearest(variable, args::settings().map(|flag| flag.prefixed_variable())).unwrap_or_default(),
    }));
    Ok(found)
}

/// Returns the first file of the usual places.
fn search(
    data_dir: &str,
    reader: Reader<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<(PathBuf, file::Content)>, FileError> {
    let mut found: Option<(PathBuf, file::Content)> = None;
    for path in [Path::new(data_dir).join(FILE_NAME), PathBuf::from(SYSTEM_FILE)] {
        match reader(&path) {
            Ok(content) => match &found {
                None => found = Some((path, content)),
                Some((used, _)) => warnings.push(Warning::IgnoredFile { path, used: used.clone() }),
            },
            Err(cause) => match cause.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
                // The service's settings are closed to other users, who may run a node of their own, and so is its data.
                io::ErrorKind::PermissionDenied => {
                    warnings.push(Warning::UnreadableFile { path });
                }
                _ => return Err(FileError::Unreadable { path, cause }),
            },
        }
    }
    Ok(found)
}
