//! A name of a group or a consumer. Most are short and stand where they are kept.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;

use crate::heap::{self, MovableBox, Mover};

/// Bytes of a name that takes no more than a pointer's place and a length's.
const SHORT: usize = 22;

/// The name; see the module's page.
pub(super) struct Name(Form);

enum Form {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(MovableBox<[u8]>),
}

const _: () = assert!(size_of::<Name>() == 24);

impl Name {
    /// Bytes beside itself.
    #[inline]
    pub(super) fn owned(&self) -> usize {
        match &self.0 {
            Form::Short { .. } => 0,
            Form::Long(bytes) => heap::taken(bytes.len()),
        }
    }

    /// Moves what it owns if that is to be.
    pub(super) fn settle(&mut self, mover: &mut Mover) {
        if let Form::Long(bytes) = &mut self.0
            && mover.moves(bytes.as_ptr().addr(), bytes.len())
        {
            *bytes = MovableBox::from(&bytes[..]);
        }
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        Self(match bytes.get_mut(..name.len()) {
            Some(short) => {
                short.copy_from_slice(name);
                Form::Short { len: name.len() as u8, bytes }
            }
            None => Form::Long(MovableBox::from(name)),
        })
    }
}

impl Deref for Name {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => &bytes[..usize::from(*len)],
            Form::Long(bytes) => bytes,
        }
    }
}

// What it is borrowed as compares as it does.
impl Borrow<[u8]> for Name {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Ord for Name {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for Name {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Name {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}
