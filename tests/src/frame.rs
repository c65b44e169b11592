//! Frames of RESP2 and RESP3: where one ends, its parts, and a form that people can read.
//!
//! Kept apart from larder's own reader on purpose: a test that reads replies with the code under test would not see
//! a mistake that both sides share.

/// Deepest nesting that a reply of a sane server has.
const MAX_DEPTH: usize = 32;

/// One parsed frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The frame's first byte: `+ - : $ * _ , # ( = % ~ > |`.
    pub kind: u8,
    /// The text of a line or of a bulk string; the length of an aggregate as it was sent.
    pub text: Vec<u8>,
    /// The elements of an aggregate; keys and values alternate in a map.
    pub items: Vec<Frame>,
    /// RESP2's `$-1` and `*-1`.
    pub null: bool,
}

/// Finds the end of a frame that arrives piece by piece; nothing is looked at twice.
pub struct Scanner {
    /// Everything before is known.
    at: usize,
    /// Frames, counting the parts of aggregates, that are still to come.
    left: usize,
}

impl Scanner {
    /// Of a frame that begins at the first byte.
    pub fn new() -> Scanner {
        Scanner { at: 0, left: 1 }
    }

    /// The length of the frame, `None` while `bytes`, which may have grown since the last call, do not hold all of it.
    ///
    /// # Errors
    /// A text that says what is not RESP about the bytes.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        while self.left > 0 {
            let Some((frame, head)) = read_head(&bytes[self.at..])? else {
                return Ok(None);
            };
            let (mut length, mut parts) = (head, 0);
            match frame.kind {
                b'$' | b'=' => length += usize::try_from(count_of(&frame)?).map_or(0, |count| count + 2),
                b'*' | b'~' | b'>' => parts = usize::try_from(count_of(&frame)?).unwrap_or(0),
                b'%' | b'|' => parts = 2 * usize::try_from(count_of(&frame)?).unwrap_or(0),
                _ => {}
            }
            if bytes.len() < self.at + length {
                return Ok(None);
            }
            self.at += length;
            self.left = self.left - 1 + parts;
        }
        Ok(Some(self.at))
    }
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

/// The first frame of `bytes` and its length, `None` while it is incomplete.
///
/// # Errors
/// A text that says what is not RESP about the bytes.
pub fn read(bytes: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    let mut at = 0;
    Ok(read_at(bytes, &mut at, MAX_DEPTH)?.map(|frame| (frame, at)))
}

/// The first line of a frame and its length.
fn read_head(bytes: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    let Some(&kind) = bytes.first() else {
        return Ok(None);
    };
    if !b"+-:$*_,#(=%~>|".contains(&kind) {
        return Err(format!("no frame begins with {}", show(&bytes[..bytes.len().min(40)])));
    }
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let frame = Frame { kind, text: bytes[1..end].to_vec(), items: Vec::new(), null: false };
    Ok(Some((frame, end + 2)))
}

fn read_at(bytes: &[u8], at: &mut usize, depth: usize) -> Result<Option<Frame>, String> {
    let Some((mut frame, head)) = read_head(&bytes[*at..])? else {
        return Ok(None);
    };
    *at += head;
    let complete = match frame.kind {
        b'$' | b'=' => read_bulk(bytes, at, &mut frame)?,
        b'*' | b'%' | b'~' | b'>' | b'|' => read_items(bytes, at, &mut frame, depth)?,
        _ => true,
    };
    Ok(complete.then_some(frame))
}

fn read_bulk(bytes: &[u8], at: &mut usize, frame: &mut Frame) -> Result<bool, String> {
    let count = count_of(frame)?;
    if count < 0 {
        frame.null = true;
        return Ok(true);
    }
    let length = count as usize;
    let Some(body) = bytes.get(*at..*at + length + 2) else {
        return Ok(false);
    };
    if &body[length..] != b"\r\n" {
        return Err(format!("a bulk string of {length} bytes does not end with CR LF"));
    }
    frame.text = body[..length].to_vec();
    *at += length + 2;
    Ok(true)
}

fn read_items(bytes: &[u8], at: &mut usize, frame: &mut Frame, depth: usize) -> Result<bool, String> {
    let count = count_of(frame)?;
    if count < 0 {
        frame.null = true;
        return Ok(true);
    }
    if depth == 0 {
        return Err(format!("nested deeper than {MAX_DEPTH}"));
    }
    let pairs = if matches!(frame.kind, b'%' | b'|') { 2 } else { 1 };
    for _ in 0..count as usize * pairs {
        let Some(item) = read_at(bytes, at, depth - 1)? else {
            return Ok(false);
        };
        frame.items.push(item);
    }
    Ok(true)
}

fn count_of(frame: &Frame) -> Result<i64, String> {
    String::from_utf8_lossy(&frame.text)
        .parse()
        .map_err(|_| format!("{:?} is not a length: {}", frame.kind as char, show(&frame.text)))
}

impl Frame {
    /// The bytes of the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        match self.kind {
            b'$' | b'=' if !self.null => {
                out.extend(self.text.len().to_string().bytes());
                out.extend(b"\r\n");
                out.extend(&self.text);
            }
            _ => out.extend(&self.text),
        }
        out.extend(b"\r\n");
        self.items.iter().for_each(|item| item.encode(out));
    }

    /// The bytes of the frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// The frame with the elements of all aggregates (pairs in maps) in byte order.
    pub fn sorted(mut self) -> Frame {
        self.items = self.items.into_iter().map(Frame::sorted).collect();
        if self.kind == b'%' {
            let mut pairs: Vec<_> = self.items.chunks(2).map(<[Frame]>::to_vec).collect();
            pairs.sort_by_key(|pair| pair[0].bytes());
            self.items = pairs.concat();
        } else {
            self.items.sort_by_key(Frame::bytes);
        }
        self
    }

    /// What stays when values do not matter: types, nulls, error codes, and which different shapes an aggregate holds.
    pub fn shape(&self) -> String {
        match self.kind {
            b'-' => format!("-{}", String::from_utf8_lossy(&self.text).split(' ').next().unwrap_or_default()),
            b'+' => format!("+{}", String::from_utf8_lossy(&self.text)),
            kind if self.null => format!("{}null", kind as char),
            kind if self.items.is_empty() => (kind as char).to_string(),
            kind => {
                let mut shapes: Vec<_> = self.items.iter().map(Frame::shape).collect();
                shapes.sort();
                shapes.dedup();
                format!("{}({})", kind as char, shapes.join(" "))
            }
        }
    }

    /// The names of a text of `name=value` words or `name:value` lines, in the order of the text.
    pub fn fields(&self) -> Vec<String> {
        let prefix = if self.kind == b'=' { "txt:".len() } else { 0 };
        String::from_utf8_lossy(&self.text[prefix..])
            .split([' ', '\n', '\r'])
            .filter(|word| !word.is_empty())
            .map(|word| word.split_once(['=', ':']).map_or(word, |(name, _)| name).to_string())
            .collect()
    }

    /// The text of an element, for the common case of reading a reply in a test.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn item(&self, index: usize) -> String {
        String::from_utf8_lossy(&self.items[index].text).into_owned()
    }
}

/// Raw bytes for people: printable ASCII as it is, the rest escaped, long ones cut.
pub fn show(bytes: &[u8]) -> String {
    const LIMIT: usize = 1500;
    let mut text: String =
        bytes.iter().take(LIMIT).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    if bytes.len() > LIMIT {
        text.push_str(&format!("... ({} bytes)", bytes.len()));
    }
    text.replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanner_finds_the_end_byte_by_byte() {
        let bytes = b"*3\r\n$-1\r\n%1\r\n+a\r\n,1.5\r\n*1\r\n$4\r\n\r\n\r\n\r\n";
        let mut scanner = Scanner::new();
        for end in 0..bytes.len() {
            assert_eq!(scanner.scan(&bytes[..end]), Ok(None));
        }
        assert_eq!(scanner.scan(bytes), Ok(Some(bytes.len())));
        assert_eq!(read(bytes).unwrap().unwrap().0.bytes(), bytes);
    }
}
