//! Recorded requests, one JSON object a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use brink_cache::canonical::{self, CanonicalError};
use bytes::Bytes;
use serde_json::{Map, Value};

/// Longest line, without its end. It is what a gateway takes unless told otherwise.
pub const MAX_LINE_BYTES: usize = 16 << 20;

/// A list of request bodies: JSON Lines. Lines of white space do not count.
pub struct List {
    lines: Lines<Box<dyn BufRead + Send>>,
    total: Option<u64>,
}

/// A line that is not empty.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1, empty lines included.
    pub(super) number: u64,
    /// What is sent.
    pub(super) body: Result<Bytes, Mistake>,
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mistake {
    #[error("it has more than {MAX_LINE_BYTES} bytes")]
    TooLong,
    #[error("it is no JSON at column {column}, or a member occurs twice")]
    NotJson { column: usize },
    #[error("it is JSON and no object")]
    NotAnObject,
    #[error("it cannot be read, and nothing after it: {0}")]
    Unreadable(#[from] io::Error),
}

impl List {
    /// Opens a file, or standard input if `path` is `-`. The lines of a regular file are counted
    /// first, so that progress can tell how many are left.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::new(BufReader::new(io::stdin())));
        }
        let file = File::open(path)?;
        // What is read once only, such as a pipe, cannot be counted before it is sent.
        let total = if file.metadata()?.is_file() {
            Some(Lines::new(BufReader::new(File::open(path)?)).count()?)
        } else {
            None
        };
        Ok(Self {
            total,
            ..Self::new(BufReader::new(file))
        })
    }

    /// A list of unknown length.
    pub fn new(reader: impl BufRead + Send + 'static) -> Self {
        Self {
            lines: Lines::new(Box::new(reader)),
            total: None,
        }
    }

    /// How many lines there are, without empty ones; `None` if nobody knows before the end.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The requests in order, with `model` in the place of their own if one is given.
    pub(super) fn requests(mut self, model: Option<String>) -> impl Iterator<Item = Line> {
        let mut over = false;
        std::iter::from_fn(move || {
            if over {
                return None;
            }
            let read = self.lines.next().transpose()?;
            over = read.is_err();
            let body = match read {
                Ok(Text::Whole(text)) => body(text, model.as_deref()),
                Ok(Text::TooLong) => Err(Mistake::TooLong),
                Err(error) => Err(error.into()),
            };
            let number = self.lines.number;
            Some(Line { number, body })
        })
    }
}

fn body(line: &[u8], model: Option<&str>) -> Result<Bytes, Mistake> {
    let mut object = canonical::parse(line).map_err(|error| match error {
        CanonicalError::Json { column, .. } => Mistake::NotJson { column },
        CanonicalError::NotAnObject | CanonicalError::Inexact => Mistake::NotAnObject,
    })?;
    let Some(model) = model else {
        return Ok(Bytes::copy_from_slice(line));
    };
    object.insert("model".to_owned(), Value::from(model));
    Ok(written(&object))
}

fn written(object: &Map<String, Value>) -> Bytes {
    let bytes = serde_json::to_vec(object).expect("what was read as JSON can be written");
    bytes.into()
}

/// One line, with the white space around it removed.
enum Text<'a> {
    Whole(&'a [u8]),
    TooLong,
}

/// Lines of bounded length, empty ones left out.
struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Of the line that was read last, from 1.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// Like an iterator's, and the text lives until the next call.
    fn next(&mut self) -> io::Result<Option<Text<'_>>> {
        loop {
            self.buffer.clear();
            self.number += 1;
            // One byte more, for the end of the line.
            let mut limited = (&mut self.reader).take(MAX_LINE_BYTES as u64 + 1);
            if limited.read_until(b'\n', &mut self.buffer)? == 0 {
                return Ok(None);
            }
            if self.buffer.len() > MAX_LINE_BYTES && !self.buffer.ends_with(b"\n") {
                self.reader.skip_until(b'\n')?;
                return Ok(Some(Text::TooLong));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some(Text::Whole(self.buffer.trim_ascii())));
            }
        }
    }

    fn count(mut self) -> io::Result<u64> {
        let mut count = 0;
        while self.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: impl Into<Vec<u8>>, model: Option<&str>) -> Vec<(u64, Result<String, String>)> {
        let list = List::new(io::Cursor::new(text.into()));
        let lines = list.requests(model.map(str::to_owned));
        let text = |body: Bytes| String::from_utf8(body.to_vec()).unwrap();
        lines
            .map(|line| {
                let body = line.body.map(text);
                (line.number, body.map_err(|mistake| mistake.to_string()))
            })
            .collect()
    }

    #[test]
    fn lines_are_sent_as_they_are_and_empty_ones_left_out() {
        let check = |text: &str, wanted: &[(u64, &str)]| {
            let wanted: Vec<_> = wanted
                .iter()
                .map(|(number, body)| (*number, Ok((*body).to_owned())))
                .collect();
            assert_eq!(read(text, None), wanted, "{text:?}");
        };
        check("", &[]);
        check("\n \n\r\n", &[]);
        check("{\"n\": 1.0}", &[(1, "{\"n\": 1.0}")]);
        check("{}\r\n\n\t{ }\n", &[(1, "{}"), (3, "{ }")]);
    }

    #[test]
    fn the_model_takes_the_place_of_the_recorded_one() {
        let check = |line: &str, wanted: &str| {
            assert_eq!(read(line, Some("new")), [(1, Ok(wanted.to_owned()))]);
        };
        check("{\"model\": \"old\"}", "{\"model\":\"new\"}");
        check(
            "{\"input\": [101, 4294967295]}",
            "{\"input\":[101,4294967295],\"model\":\"new\"}",
        );
    }

    #[test]
    fn what_is_no_request_is_told_with_its_number_and_the_rest_goes_on() {
        let check = |line: &str, wanted: &str| {
            let lines = read(format!("{{}}\n{line}\n{{}}"), None);
            assert_eq!(lines.len(), 3, "{line}");
            let (number, body) = &lines[1];
            assert_eq!((*number, body), (2, &Err(wanted.to_owned())), "{line}");
        };
        let no_json =
            |column: u8| format!("it is no JSON at column {column}, or a member occurs twice");
        check("[]", "it is JSON and no object");
        check("{\"a\" 1}", &no_json(6));
        check("{\"a\":1,\"a\":2}", &no_json(13));
        check("{} {}", &no_json(4));
    }

    #[test]
    fn the_longest_line_is_read_and_one_byte_more_is_not() {
        let line = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        let text = [line(MAX_LINE_BYTES), line(MAX_LINE_BYTES + 1), "{}".into()].join("\n");
        let lines = read(text, None);
        let lengths: Vec<_> = lines
            .iter()
            .map(|(number, body)| (*number, body.as_ref().map(String::len).ok()))
            .collect();
        assert_eq!(
            lengths,
            [(1, Some(MAX_LINE_BYTES)), (2, None), (3, Some(2))]
        );
    }

    #[test]
    fn lines_of_a_file_are_counted_before() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{}\n\nno JSON\n{}").unwrap();
        let list = List::open(file.path()).unwrap();
        assert_eq!(list.total(), Some(3));
        assert_eq!(list.requests(None).count(), 3);
    }

    /// Gives a line, and then fails whenever it is read.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::Error::other("the disk is gone"));
            }
            buffer[..3].copy_from_slice(b"{}\n");
            Ok(3)
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_on_ends_with_a_mistake() {
        let list = List::new(BufReader::new(Broken(false)));
        let bodies: Vec<_> = list.requests(None).map(|line| line.body.is_ok()).collect();
        assert_eq!(bodies, [true, false]);
    }
}
