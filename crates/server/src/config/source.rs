//! Where values come from: the environment and, in development, a `.env` file.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::Path;

use super::variables::{self, APP_ENV};

/// Values by the names of their variables. An empty one counts as unset and is not here.
#[derive(Default)]
pub(crate) struct Source(HashMap<String, OsString>);

impl Source {
    /// The values of these pairs.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let set = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        // A name that is not Unicode is none of ours.
        Self(
            set.filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
        )
    }

    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// The names that begin so and that no variable of ours has.
    pub(crate) fn unknown(&self, prefix: &str) -> Vec<String> {
        let is_ours = |name: &String| variables::ALL.iter().any(|ours| ours.name == *name);
        let mut unknown: Vec<_> = self
            .0
            .keys()
            .filter(|name| name.starts_with(prefix) && !is_ours(name))
            .cloned()
            .collect();
        unknown.sort();
        unknown
    }

    /// Fills what the environment leaves unset from a `.env` file, if this is development and
    /// there is one. Every line that cannot be read is an error; its text, which may be a
    /// secret, is not told.
    pub(crate) fn fill_from_dotenv(&mut self, path: &Path) -> Result<(), Vec<String>> {
        let environment = self.get(APP_ENV.name);
        if environment.is_some_and(|name| name != "development") {
            return Ok(());
        }
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(vec![format!("{} cannot be read: {error}", path.display())]),
        };
        let mut errors = Vec::new();
        let line = Cell::new(0);
        let text = text.trim_start_matches('\u{feff}');
        for item in dotenvy::Iter::new(Lines { text, line: &line }) {
            match item {
                Ok((_, value)) if value.is_empty() => {}
                // Of two lines with one name the first counts, as everywhere with dotenv.
                Ok((name, value)) => {
                    self.0.entry(name).or_insert_with(|| value.into());
                }
                Err(dotenvy::Error::LineParse(text, _)) => {
                    let first = (line.get() + 1).saturating_sub(text.lines().count().max(1));
                    errors.push(format!(
                        "{} line {first} cannot be read; allowed: NAME=value, # and a comment, nothing",
                        path.display()
                    ));
                }
                Err(error) => errors.push(format!("{} cannot be read: {error}", path.display())),
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// Gives a text away line by line and counts them, since dotenvy does not say where it is.
struct Lines<'a> {
    text: &'a str,
    line: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.text.find('\n').map_or(self.text.len(), |at| at + 1);
        let (line, _) = self.text.split_at(end);
        let length = line.as_bytes().read(buffer)?;
        // A line longer than the buffer is cut where a character begins.
        let length = line.floor_char_boundary(length);
        if length == end && length > 0 {
            self.line.set(self.line.get() + 1);
        }
        self.text = self.text.get(length..).unwrap_or_default();
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pairs: &[(&str, &str)]) -> Source {
        Source::new(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())))
    }

    fn filled(
        pairs: &[(&str, &str)],
        dotenv: impl AsRef<[u8]>,
    ) -> (Source, Result<(), Vec<String>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, dotenv).unwrap();
        let mut source = source(pairs);
        let outcome = source.fill_from_dotenv(&path).map_err(|errors| {
            let folder = format!("{}/", folder.path().display());
            errors.iter().map(|e| e.replace(&folder, "")).collect()
        });
        (source, outcome)
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let (source, outcome) = filled(&[("PORT", "1")], "PORT=2\nHOST=::1 # here\n");
        assert_eq!(outcome, Ok(()));
        assert_eq!(source.get("PORT"), Some("1".as_ref()));
        assert_eq!(source.get("HOST"), Some("::1".as_ref()));
    }

    #[test]
    fn an_empty_value_is_unset_in_the_environment_and_in_the_file() {
        let (source, _) = filled(&[("PORT", ""), ("HOST", "")], "PORT=2\nHOST=\n");
        assert_eq!(source.get("PORT"), Some("2".as_ref()));
        assert_eq!(source.get("HOST"), None);
    }

    #[test]
    fn the_file_is_for_development_only() {
        for environment in ["test", "production", "Development", "staging"] {
            let (source, outcome) = filled(&[("APP_ENV", environment)], "PORT=2\nbroken");
            assert_eq!(outcome, Ok(()), "{environment}");
            assert_eq!(source.get("PORT"), None, "{environment}");
        }
        for environment in ["", "development"] {
            let (source, _) = filled(&[("APP_ENV", environment)], "PORT=2\n");
            assert_eq!(source.get("PORT"), Some("2".as_ref()), "{environment}");
        }
    }

    #[test]
    fn no_file_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(&[]);
        assert_eq!(source.fill_from_dotenv(&folder.path().join(".env")), Ok(()));
    }

    #[test]
    fn every_broken_line_is_named_and_none_is_shown() {
        let text = format!(
            "\u{feff}PORT=2\nPORT\n\n# fine\nLONG={}\nHOST=\"a\nb\"\n1=hush-hush\nX='hush-hush\n",
            "ä".repeat(10_000)
        );
        let (source, outcome) = filled(&[], text);
        let allowed = "cannot be read; allowed: NAME=value, # and a comment, nothing";
        assert_eq!(
            outcome.unwrap_err(),
            [2, 8, 9].map(|line| format!(".env line {line} {allowed}"))
        );
        assert_eq!(source.get("PORT"), Some("2".as_ref()));
    }

    #[test]
    fn a_file_that_is_no_text_is_an_error() {
        let (_, outcome) = filled(&[], [0xff, 0xfe]);
        assert_eq!(
            outcome.unwrap_err(),
            [".env cannot be read: stream did not contain valid UTF-8"]
        );
    }
}
