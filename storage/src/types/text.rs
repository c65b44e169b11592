//! A string that is borrowed or, where its bytes stand nowhere, because it is stored as an integer, printed.

use std::hash::{Hash, Hasher};
use std::ops::Deref;

use super::pack::Element;

/// Bytes of the longest integer.
const PRINTED_MAX: usize = 20;

/// See the module's page. Compared and hashed as its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Bytes that stand elsewhere.
    Borrowed(&'a [u8]),
    /// The digits of an integer.
    Printed {
        /// How many there are.
        len: u8,
        /// The digits, and what does not count.
        digits: [u8; PRINTED_MAX],
    },
}

impl<'a> From<Element<'a>> for Text<'a> {
    #[inline]
    fn from(element: Element<'a>) -> Self {
        match element {
            Element::Bytes(bytes) => Self::Borrowed(bytes),
            Element::Int(number) => {
                let mut buffer = itoa::Buffer::new();
                let text = buffer.format(number).as_bytes();
                let mut digits = [0; PRINTED_MAX];
                digits[..text.len()].copy_from_slice(text);
                Self::Printed { len: text.len() as u8, digits }
            }
        }
    }
}

impl Deref for Text<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Printed { len, digits } => &digits[..*len as usize],
        }
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_integer_is_equal_to_its_bytes() {
        for number in [0, 7, -7, i64::MAX, i64::MIN] {
            let text = number.to_string();
            let printed = Text::from(Element::Int(number));
            assert_eq!(&*printed, text.as_bytes());
            assert_eq!(printed, Text::Borrowed(text.as_bytes()));
        }
    }
}
