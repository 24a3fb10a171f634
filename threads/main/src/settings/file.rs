//! The settings file: TOML, whose keys are the names of flags.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::sources::Warning;
use crate::args;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "p2pool.toml";
/// The machine's file.
pub const SYSTEM_FILE: &str = "/etc/p2pool/p2pool.toml";
/// Largest file in bytes: hundreds of times a file with all settings.
const LEN_MAX: usize = 1_000_000;

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct Content {
    /// The whole text.
    pub text: String,
    /// Whether others than its owner and group may read it.
    pub is_public: bool,
}

/// Reads files; the tests have their own.
pub type Reader<'a> = &'a dyn Fn(&Path) -> io::Result<Content>;

/// A settings file that cannot be used. The message is one line; values are not part of it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read the settings file {}: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("the settings file {} has more than {LEN_MAX} bytes", .0.display())]
    TooLong(PathBuf),
    #[error("{} line {line}: {problem}", .path.display())]
    Syntax { path: PathBuf, line: usize, problem: String },
    #[error(
        "{}: {section} is a section or a dotted key, which settings files of p2pool do not have: the keys are names of flags",
        .path.display()
    )]
    Section { path: PathBuf, section: String },
    #[error("{}: {key} needs {expected}", .path.display())]
    WrongType { path: PathBuf, key: &'static str, expected: &'static str },
    #[error("{}: a settings file cannot name another one: remove `config`", .0.display())]
    NamesAnother(PathBuf),
    #[error(
        "{}: data-dir is where this file is: remove it, or move the file to {SYSTEM_FILE}, or name the file with -config",
        .0.display()
    )]
    MovesDataDir(PathBuf),
}

/// Reads a file on this machine.
///
/// # Errors
/// The file does not exist, is not readable or is not UTF-8.
pub fn read(path: &Path) -> io::Result<Content> {
    use std::os::unix::fs::PermissionsExt as _;
    let text = std::fs::read_to_string(path)?;
    let is_public = std::fs::metadata(path)?.permissions().mode() & 0o004 != 0;
    Ok(Content { text, is_public })
}

/// Returns the settings in a file by their flags. Keys that are no settings are warned of.
///
/// # Errors
/// The text is not TOML, or a value has the wrong type.
pub fn parse(
    path: &Path,
    content: &Content,
    warnings: &mut Vec<Warning>,
) -> Result<BTreeMap<&'static str, String>, FileError> {
    if content.text.len() > LEN_MAX {
        return Err(FileError::TooLong(path.to_owned()));
    }
    let table: Table = content.text.parse().map_err(|error| syntax_error(path, &content.text, &error))?;
    let mut settings = BTreeMap::new();
    for (key, value) in &table {
        let Some(flag) = args::settings().find(|flag| flag.name == key) else {
            if value.is_table() {
                return Err(FileError::Section { path: path.to_owned(), section: key.escape_default().to_string() });
            }
            let nearest = args::nearest(key, args::settings().map(|flag| flag.name)).unwrap_or_default();
            warnings.push(Warning::UnknownKey { path: path.to_owned(), key: key.clone(), nearest });
            continue;
        };
        if flag.name == "config" {
            return Err(FileError::NamesAnother(path.to_owned()));
        }
        // A number would not be read as it is written, as 0x10 or 1_000.
        let is_text = matches!(flag.value, Some("password" | "name" | "text" | "address"));
        let (text, expected) = match is_text {
            true => (value.as_str().map(str::to_owned), "a text in quotation marks"),
            false => (text_of(value), "a text in quotation marks, a number, true, false, or a list of texts"),
        };
        let wrong = || FileError::WrongType { path: path.to_owned(), key: flag.name, expected };
        let text = text.ok_or_else(wrong)?;
        settings.insert(flag.name, text);
    }
    if content.is_public && settings.contains_key("rpc-password") {
        warnings.push(Warning::PublicPassword(path.to_owned()));
    }
    Ok(settings)
}

/// Returns a value as it would stand on the command line; a list as texts separated by commas.
fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(","),
        Value::Datetime(_) | Value::Table(_) => return None,
    })
}

/// Returns TOML's error without the line of the file that it would quote, which may have a password.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> FileError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let problem = error.message().replace('\n', ", ");
    FileError::Syntax { path: path.to_owned(), line, problem }
}
