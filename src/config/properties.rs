//! Java's Properties syntax (`java.util.Properties.load`), with line numbers.
//!
//! A file is bytes in ISO-8859-1. A logical line is a natural line, or several joined by a backslash
//! at the end; leading blanks (space, tab, form feed) are dropped, also those of the joined lines.
//! `#` and `!` as the first character make a comment, which is never continued. The key ends at the
//! first unescaped `=`, `:` or blank; `\t \n \r \f \uXXXX` are escapes, `\x` is `x`.
//!
//! Must not know: what a key means.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{take_till, take_while_m_n};
use nom::character::complete::{anychar, char, none_of, one_of};
use nom::combinator::{opt, recognize};
use nom::multi::{many0, many0_count};
use nom::sequence::{pair, preceded};

/// One `key = value` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped, not trimmed at the end (Apache trims later).
    pub value: String,
    /// The line the property starts at, from 1.
    pub line: usize,
}

/// A file that Java's parser would refuse, too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed \\uxxxx escape on line {line}")]
pub struct BadEscape {
    /// The logical line's first line, from 1.
    pub line: usize,
}

type Res<'a, T> = nom::IResult<&'a str, T, nom::error::Error<&'a str>>;

const BLANKS: &str = " \t\u{c}";

/// Parses a file. Duplicates are kept, in order: the caller decides (the last one wins in Java).
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, BadEscape> {
    // ISO-8859-1: every byte is the character of the same number.
    let text: String = bytes.iter().map(|b| char::from(*b)).collect();
    let mut out = Vec::new();
    for (line, logical) in logical_lines(&text) {
        let (key, value) = match key_and_value(&logical) {
            Ok((_, parts)) => parts,
            // The grammar accepts every string; an empty answer is the honest fallback.
            Err(_) => (logical.as_str(), ""),
        };
        let unescape = |s: &str| unescape(s).ok_or(BadEscape { line });
        out.push(Property { key: unescape(key)?, value: unescape(value)?, line });
    }
    Ok(out)
}

/// The last value of every key, in the order of the keys' last appearance.
pub fn last_wins(properties: Vec<Property>) -> Vec<Property> {
    let mut out: Vec<Property> = Vec::with_capacity(properties.len());
    for property in properties {
        out.retain(|p| p.key != property.key);
        out.push(property);
    }
    out
}

/// A natural line and what ended it (nothing at the end of the file).
fn natural_line(input: &str) -> Res<'_, &str> {
    let (rest, line) = take_till(|c| c == '\n' || c == '\r').parse(input)?;
    let (rest, _) = opt(alt((recognize(pair(char('\r'), char('\n'))), recognize(one_of("\r\n")))))
        .parse(rest)?;
    Ok((rest, line))
}

/// The logical lines that hold a property, each with the number of its first natural line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut number = 0;
    let mut open: Option<(usize, String)> = None;
    while !rest.is_empty() {
        let Ok((next, line)) = natural_line(rest) else { break };
        rest = next;
        number += 1;
        let line = line.trim_start_matches(|c| BLANKS.contains(c));
        let (start, mut logical) = match open.take() {
            Some(begun) => begun,
            None if line.is_empty() || line.starts_with(['#', '!']) => continue,
            None => (number, String::new()),
        };
        let slashes = line.bytes().rev().take_while(|b| *b == b'\\').count();
        if slashes % 2 == 1 {
            logical.push_str(&line[..line.len() - 1]);
            open = Some((start, logical));
        } else {
            logical.push_str(line);
            out.push((start, logical));
        }
    }
    out.extend(open);
    out.retain(|(_, logical)| !logical.is_empty());
    out
}

fn blanks(input: &str) -> Res<'_, &str> {
    recognize(many0_count(one_of(BLANKS))).parse(input)
}

/// Splits a logical line; both halves are still escaped.
fn key_and_value(input: &str) -> Res<'_, (&str, &str)> {
    let escaped = preceded(char('\\'), anychar);
    let plain = none_of("=: \t\u{c}\\");
    let (rest, key) = recognize(many0_count(alt((escaped, plain)))).parse(input)?;
    let (rest, _) = blanks(rest)?;
    let (rest, separator) = opt(one_of("=:")).parse(rest)?;
    let (rest, _) = if separator.is_some() { blanks(rest)? } else { (rest, "") };
    Ok(("", (key, rest)))
}

/// Resolves escapes; `None` for a `\u` without four hexadecimal digits.
fn unescape(input: &str) -> Option<String> {
    fn unicode(input: &str) -> Res<'_, char> {
        let (rest, digits) =
            preceded(char('u'), take_while_m_n(4, 4, |c: char| c.is_ascii_hexdigit()))
                .parse(input)?;
        // Four hexadecimal digits always fit; a lone surrogate has no `char`.
        let code = u32::from_str_radix(digits, 16).unwrap_or(0xfffd);
        Ok((rest, char::from_u32(code).unwrap_or('\u{fffd}')))
    }
    fn simple(input: &str) -> Res<'_, char> {
        let (rest, c) = none_of("u").parse(input)?;
        let c = match c {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\u{c}',
            other => other,
        };
        Ok((rest, c))
    }
    let piece = alt((preceded(char('\\'), alt((unicode, simple))), none_of("\\")));
    let (rest, chars) = many0(piece).parse(input).ok()?;
    match rest {
        "" => Some(chars.into_iter().collect()),
        // A lone backslash at the very end of the file is dropped by Java.
        "\\" => Some(chars.into_iter().collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
