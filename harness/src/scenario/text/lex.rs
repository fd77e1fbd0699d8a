//! Words and their places.

use super::ParseError;

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
}

/// What is wrong at a place: a [`ParseError`] that does not know its file.
#[derive(Debug)]
pub struct Trouble {
    place: Place,
    message: String,
}

impl Trouble {
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Trouble {
            place,
            message: message.into(),
        }
    }

    pub fn in_file(self, file: &str) -> ParseError {
        ParseError {
            file: file.to_owned(),
            line: self.place.line,
            column: self.place.column,
            message: self.message,
        }
    }
}

/// A piece of a line without blanks, and where it begins.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    pub text: &'a str,
    pub place: Place,
}

impl<'a> Word<'a> {
    /// What comes before and after the first `mark`.
    pub fn split(self, mark: char) -> Option<(Word<'a>, Word<'a>)> {
        let (before, after) = self.text.split_once(mark)?;
        let column = self.place.column + before.chars().count() + 1;
        let after = Word {
            text: after,
            place: Place {
                column,
                ..self.place
            },
        };
        Some((
            Word {
                text: before,
                ..self
            },
            after,
        ))
    }

    pub fn trouble(self, message: impl Into<String>) -> Trouble {
        Trouble::new(self.place, message)
    }

    /// The word as it may stand in a message: quoted, and not too long.
    pub fn quoted(self) -> String {
        const MOST_CHARS: usize = 40;
        let mut shown: String = self.text.chars().take(MOST_CHARS).collect();
        if shown.len() < self.text.len() {
            shown.push('…');
        }
        format!("`{}`", shown.escape_debug())
    }
}

/// The words of one line, taken from left to right.
pub struct Words<'a> {
    rest: &'a str,
    place: Place,
}

impl<'a> Words<'a> {
    /// The words of `line`, the `number`th of its text, without its comment.
    pub fn new(line: &'a str, number: usize) -> Self {
        let mut words = Words {
            rest: line.split('#').next().unwrap_or(""),
            place: Place {
                line: number,
                column: 1,
            },
        };
        words.skip_blanks();
        words
    }

    /// The next word, if there is one.
    pub fn next(&mut self) -> Option<Word<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self
            .rest
            .find(char::is_whitespace)
            .unwrap_or(self.rest.len());
        let word = Word {
            text: &self.rest[..end],
            place: self.place,
        };
        self.advance(end);
        self.skip_blanks();
        Some(word)
    }

    /// The next word, which must be there; `expected` says what it is to be.
    pub fn need(&mut self, expected: &str) -> Result<Word<'a>, Trouble> {
        let end = self.place;
        self.next().ok_or_else(|| {
            Trouble::new(
                end,
                format!("found the end of the line, expected {expected}"),
            )
        })
    }

    /// Nothing more may stand on the line.
    pub fn finish(mut self) -> Result<(), Trouble> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(word.trouble(format!(
                "found {}, expected the end of the line",
                word.quoted()
            ))),
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.place.column += self.rest[..bytes].chars().count();
        self.rest = &self.rest[bytes..];
    }

    fn skip_blanks(&mut self) {
        let trimmed = self.rest.trim_start();
        if trimmed.is_empty() {
            // The end of the line is where its last word ends.
            self.rest = trimmed;
        } else {
            self.advance(self.rest.len() - trimmed.len());
        }
    }
}
