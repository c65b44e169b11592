//! The arguments of one command: borrowed from the read buffer, or owned where a command outlives it.
//!
//! Both forms are spans over one run of bytes, so that a command costs no allocation to parse and
//! two to keep. Spans are 32-bit, which holds because the parser refuses commands of 4 GiB.

use std::fmt;
use std::iter::FusedIterator;
use std::ops::Index;

/// Where an argument stands, counted from the first byte of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// The arguments of one command, its name first. Cheap to copy; indexing panics out of range, so
/// it is for places that the command's arity covers, and [`Args::get`] for all others.
#[derive(Clone, Copy, Default)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Args { bytes, spans }
    }

    /// Number of arguments, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes from the beginning of the first argument to the end of the last one, about what they take together.
    #[inline]
    pub fn extent(&self) -> usize {
        match (self.spans.first(), self.spans.last()) {
            (Some(first), Some(last)) => (last.start as usize + last.len as usize).saturating_sub(first.start as usize),
            _ => 0,
        }
    }

    /// The argument at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.spans.get(index).map(|span| self.slice(*span))
    }

    /// The argument at `index`, for as long as the buffer lives (indexing ties it to this `Args`).
    ///
    /// # Panics
    /// If there is no such argument.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.slice(self.spans[index])
    }

    /// The arguments from `first` on; empty if there are not as many.
    #[inline]
    pub fn from(&self, first: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: self.spans.get(first..).unwrap_or(&[]) }
    }

    /// The arguments before `end`; all if there are not as many.
    #[inline]
    pub fn until(&self, end: usize) -> Args<'a> {
        Args { bytes: self.bytes, spans: self.spans.get(..end).unwrap_or(self.spans) }
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> Iter<'a> {
        Iter { bytes: self.bytes, spans: self.spans.iter() }
    }

    /// A copy that outlives the buffer.
    pub fn to_owned(&self) -> OwnedArgs {
        // The arguments are disjoint parts of a command below 4 GiB, so their sum is as well.
        OwnedArgs::collect(self.iter())
    }

    #[inline]
    fn slice(&self, span: Span) -> &'a [u8] {
        &self.bytes[span.start as usize..][..span.len as usize]
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.at(index)
    }
}

impl<'a> IntoIterator for Args<'a> {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Args<'_> {
    fn eq(&self, other: &Args<'_>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Args<'_> {}

impl fmt::Debug for Args<'_> {
    /// As bytes with escapes: `["GET", "k\xff"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = self.iter().map(|argument| format!("\"{}\"", argument.escape_ascii()));
        let mut list = f.debug_list();
        for argument in escaped {
            list.entry(&format_args!("{argument}"));
        }
        list.finish()
    }
}

/// Iterator over [`Args`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let span = self.spans.next()?;
        Some(&self.bytes[span.start as usize..][..span.len as usize])
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        let span = self.spans.nth(n)?;
        Some(&self.bytes[span.start as usize..][..span.len as usize])
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<&'a [u8]> {
        let span = self.spans.next_back()?;
        Some(&self.bytes[span.start as usize..][..span.len as usize])
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// Arguments with bytes of their own: queued commands, effects, commands written by the server.
#[derive(Clone, Default)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
}

impl OwnedArgs {
    /// A command from its parts.
    ///
    /// # Panics
    /// If the parts have 4 GiB or more together; [`OwnedArgs::try_from_slices`] does not.
    pub fn from_slices(arguments: &[&[u8]]) -> OwnedArgs {
        match OwnedArgs::try_from_slices(arguments) {
            Some(owned) => owned,
            None => panic!("a command of 4 GiB or more"),
        }
    }

    /// A command from its parts, or `None` if they have 4 GiB or more together.
    pub fn try_from_slices(arguments: &[&[u8]]) -> Option<OwnedArgs> {
        let total = arguments.iter().try_fold(0_usize, |sum, argument| sum.checked_add(argument.len()))?;
        u32::try_from(total).ok()?;
        Some(OwnedArgs::collect(arguments.iter().copied()))
    }

    /// The arguments.
    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Memory that this command holds on the heap, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.spans)
    }

    /// Callers have made sure that the arguments have less than 4 GiB together.
    fn collect<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> OwnedArgs {
        let total = arguments.clone().map(<[u8]>::len).sum();
        let mut bytes = Vec::with_capacity(total);
        let mut spans = Vec::with_capacity(arguments.len());
        for argument in arguments {
            spans.push(Span { start: bytes.len() as u32, len: argument.len() as u32 });
            bytes.extend_from_slice(argument);
        }
        OwnedArgs { bytes: bytes.into_boxed_slice(), spans: spans.into_boxed_slice() }
    }
}

impl PartialEq for OwnedArgs {
    fn eq(&self, other: &OwnedArgs) -> bool {
        self.as_args() == other.as_args()
    }
}

impl Eq for OwnedArgs {}

impl fmt::Debug for OwnedArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_args().fmt(f)
    }
}

/// Where a command is put together word by word, again and again in the same memory.
#[derive(Default)]
pub struct ArgsBuffer {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl ArgsBuffer {
    /// Memory for so many bytes is kept for the next command.
    const KEPT_BYTES: usize = 64 << 10;

    /// Forgets all arguments; the memory of very many or very long ones is given back.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.bytes.shrink_to(Self::KEPT_BYTES);
        self.spans.shrink_to(Self::KEPT_BYTES / size_of::<Span>());
    }

    /// Adds an argument; false, and nothing is added, if they would have 4 GiB or more together.
    #[inline]
    pub fn push(&mut self, argument: &[u8]) -> bool {
        let (Ok(start), Ok(len)) = (u32::try_from(self.bytes.len()), u32::try_from(argument.len())) else {
            return false;
        };
        if start.checked_add(len).is_none() {
            return false;
        }
        self.bytes.extend_from_slice(argument);
        self.spans.push(Span { start, len });
        true
    }

    /// The arguments so far.
    #[inline]
    pub fn as_args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Bytes of all arguments together.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> OwnedArgs {
        OwnedArgs::from_slices(&[b"SET", b"", b"value"])
    }

    #[test]
    fn arguments_are_reached_by_index_and_in_both_directions() {
        let owned = three();
        let args = owned.as_args();
        assert_eq!(args.len(), 3);
        assert_eq!(&args[0], b"SET");
        assert_eq!(args.get(1), Some(&b""[..]));
        assert_eq!(args.get(3), None);
        assert_eq!(args.iter().len(), 3);
        assert_eq!(args.iter().next_back(), Some(&b"value"[..]));
        assert_eq!(args.iter().nth(2), Some(&b"value"[..]));
    }

    #[test]
    fn parts_of_the_arguments_may_be_empty() {
        let owned = three();
        let args = owned.as_args();
        assert_eq!(args.from(1).iter().collect::<Vec<_>>(), [&b""[..], b"value"]);
        assert!(args.from(3).is_empty());
        assert!(args.from(9).is_empty());
        assert_eq!(args.until(1).iter().collect::<Vec<_>>(), [b"SET"]);
        assert_eq!(args.until(9).len(), 3);
    }

    #[test]
    fn a_copy_of_a_part_keeps_only_that_part() {
        let owned = three().as_args().from(2).to_owned();
        assert_eq!(owned.as_args().iter().collect::<Vec<_>>(), [b"value"]);
        assert_eq!(owned.bytes(), 5 + 8);
    }

    #[test]
    fn a_buffer_takes_one_command_after_the_other() {
        let mut buffer = ArgsBuffer::default();
        for words in [&[&b"SET"[..], b"", b"value"][..], &[b"PING"]] {
            buffer.clear();
            assert!(words.iter().all(|word| buffer.push(word)));
            assert_eq!(buffer.as_args().iter().collect::<Vec<_>>(), words);
            assert_eq!(buffer.bytes(), words.concat().len());
        }
        buffer.push(&vec![b'x'; 1 << 20]);
        buffer.clear();
        assert!(buffer.as_args().is_empty() && buffer.bytes.capacity() <= ArgsBuffer::KEPT_BYTES);
    }

    #[test]
    fn debug_escapes_bytes() {
        let owned = OwnedArgs::from_slices(&[b"a\"", b"\xff"]);
        assert_eq!(format!("{owned:?}"), r#"["a\"", "\xff"]"#);
    }
}
