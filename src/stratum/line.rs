//! Splits received bytes into lines of bounded length.

use super::limits::LINE_LEN_MAX;

/// A line exceeds [`LINE_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineTooLong;

/// Holds the beginning of an incomplete line. Lines that arrive complete are not copied.
#[derive(Debug, Default)]
pub struct LineBuffer {
    partial: Vec<u8>,
}

impl LineBuffer {
    /// Calls `on_line` for each line that `bytes` completes, without the line feed, until it returns an error.
    ///
    /// # Errors
    /// If a line is too long, even before it ends, or the error of `on_line`.
    pub fn feed<E: From<LineTooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut on_line: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.partial.is_empty() {
                check_len(line.len())?;
                on_line(line)?;
            } else {
                self.keep(line)?;
                let result = on_line(&self.partial);
                self.partial.clear();
                result?;
            }
        }
        self.keep(bytes)?;
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), LineTooLong> {
        check_len(self.partial.len() + bytes.len())?;
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the number of allocated bytes.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.partial.capacity()
    }
}

fn check_len(len: usize) -> Result<(), LineTooLong> {
    if len > LINE_LEN_MAX {
        return Err(LineTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.feed(chunk, |line| {
                lines.push(line.to_vec());
                Ok::<_, LineTooLong>(())
            })?;
        }
        Ok(lines)
    }

    #[test]
    fn lines_are_complete_however_they_arrive() {
        assert_eq!(lines(&[b"a\nbc\n\nd"]).unwrap(), [&b"a"[..], b"bc", b""]);
        assert_eq!(lines(&[b"a", b"b", b"\n", b"c\nd\n"]).unwrap(), [&b"ab"[..], b"c", b"d"]);
    }

    #[test]
    fn lines_up_to_the_limit_are_accepted() {
        let longest = vec![b'x'; LINE_LEN_MAX];
        assert_eq!(lines(&[&longest, b"\n"]).unwrap(), std::slice::from_ref(&longest));
        assert_eq!(lines(&[&longest, b"x"]), Err(LineTooLong), "before the line ends");
        assert_eq!(lines(&[&[&longest[..], b"x\n"].concat()]), Err(LineTooLong));
    }

    proptest! {
        #[test]
        fn the_lines_do_not_depend_on_how_the_stream_is_split(text in "[ab\n]{0,200}", cut in 1usize..50) {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            let mut whole: Vec<Vec<u8>> = text.as_bytes().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            whole.pop();
            prop_assert_eq!(lines(&chunks).unwrap(), whole);
        }
    }
}
