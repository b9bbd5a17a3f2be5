//! A line to words, words to options: what Apache's `MyCommandOptions` and commons-cli do.

use std::collections::BTreeMap;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{take_till, take_till1};
use nom::character::complete::{char, multispace0};
use nom::multi::many0;
use nom::sequence::{delimited, preceded};

type Res<'a, T> = nom::IResult<&'a str, T, nom::error::Error<&'a str>>;

/// Splits a line at blanks; a word that begins with a quote goes to the next same quote, and loses
/// both.
pub fn split(line: &str) -> Vec<String> {
    fn quoted<'a>(quote: char) -> impl FnMut(&'a str) -> Res<'a, &'a str> {
        move |input| {
            delimited(char(quote), take_till(move |c| c == quote), char(quote)).parse(input)
        }
    }
    let bare = take_till1(char::is_whitespace);
    let word = preceded(multispace0, alt((quoted('"'), quoted('\''), bare)));
    match many0(word).parse(line) {
        Ok((_, words)) => words.into_iter().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

/// The options and arguments of a command.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Parsed {
    flags: String,
    values: BTreeMap<String, String>,
    /// What isn't an option, in order.
    pub args: Vec<String>,
}

impl Parsed {
    /// True when a flag was given.
    pub fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// The value of an option.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// An argument by number; the command itself isn't counted.
    pub fn arg(&self, n: usize) -> Option<&str> {
        self.args.get(n).map(String::as_str)
    }
}

/// Tells options from arguments, wherever they stand. `flags` are one letter each, `values` the
/// names of options that take the next word.
pub fn options(words: &[String], flags: &str, values: &[&str]) -> Result<Parsed, String> {
    const PACKAGE: &str = "org.apache.commons.cli";
    let mut parsed = Parsed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            parsed.args.push(word.clone());
            continue;
        };
        if values.contains(&name) {
            let value = words.next().ok_or_else(|| {
                format!("{PACKAGE}.MissingArgumentException: Missing argument for option: {name}")
            })?;
            parsed.values.insert(name.to_owned(), value.clone());
        } else if name.chars().all(|c| flags.contains(c)) {
            parsed.flags.push_str(name);
        } else {
            return Err(format!(
                "{PACKAGE}.UnrecognizedOptionException: Unrecognized option: {word}"
            ));
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
