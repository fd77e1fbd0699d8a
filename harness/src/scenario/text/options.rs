//! What stands after the first words of a statement: `KEY=VALUE` and flags.

use super::lex::{Trouble, Word, Words};
use super::nearest::unknown;

/// A key that a statement knows.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    name: &'static str,
    /// What its value is called, or `None` for a flag.
    value: Option<&'static str>,
}

impl Key {
    pub const fn with_value(name: &'static str, value: &'static str) -> Self {
        Key {
            name,
            value: Some(value),
        }
    }

    pub const fn flag(name: &'static str) -> Self {
        Key { name, value: None }
    }

    /// How it is written.
    pub fn form(self) -> String {
        match self.value {
            Some(value) => format!("`{}={value}`", self.name),
            None => format!("`{}`", self.name),
        }
    }
}

/// Reads the options of one statement; each may stand once.
pub struct Options<'k> {
    keys: &'k [Key],
    seen: Vec<&'static str>,
}

impl<'k> Options<'k> {
    pub fn new(keys: &'k [Key]) -> Self {
        Options {
            keys,
            seen: Vec::new(),
        }
    }

    /// The next option: its key and the word that is its value (for a flag, the
    /// flag itself).
    pub fn next<'a>(
        &mut self,
        words: &mut Words<'a>,
    ) -> Result<Option<(&'static str, Word<'a>)>, Trouble> {
        words.next().map(|word| self.option(word)).transpose()
    }

    fn option<'a>(&mut self, word: Word<'a>) -> Result<(&'static str, Word<'a>), Trouble> {
        let (name, value) = match word.split('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let Some(key) = self.keys.iter().find(|key| key.name == name.text) else {
            let names: Vec<_> = self.keys.iter().map(|key| key.name).collect();
            let message = unknown("key", &name.quoted(), name.text, &names);
            return Err(name.trouble(message));
        };
        let value = match (key.value, value) {
            (Some(_), Some(value)) => value,
            (None, None) => word,
            _ => {
                return Err(word.trouble(format!(
                    "found {}, expected {}",
                    word.quoted(),
                    key.form()
                )));
            }
        };
        if self.seen.contains(&key.name) {
            return Err(word.trouble(format!(
                "found a second `{}`, expected only one in a line",
                key.name
            )));
        }
        self.seen.push(key.name);
        Ok((key.name, value))
    }
}

/// The value of the one option that must stand here.
pub fn only_option<'a>(words: &mut Words<'a>, key: Key) -> Result<Word<'a>, Trouble> {
    let word = words.need(&key.form())?;
    Options::new(&[key]).option(word).map(|(_, value)| value)
}

/// The one of `named` that `word` is the name of.
pub fn choose<T: Clone>(word: Word<'_>, what: &str, named: &[(&str, T)]) -> Result<T, Trouble> {
    match named.iter().find(|(name, _)| *name == word.text) {
        Some((_, value)) => Ok(value.clone()),
        None => {
            let names: Vec<_> = named.iter().map(|(name, _)| *name).collect();
            Err(word.trouble(unknown(what, &word.quoted(), word.text, &names)))
        }
    }
}
