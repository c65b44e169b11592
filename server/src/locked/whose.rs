//! Whose commands run, and what that client lends them.

use larder_storage::heap::Shared;
use larder_storage::value::{BigStr, Content, Object};

use super::Locked;
use crate::session::Session;

impl Locked<'_> {
    /// Runs commands of this client from now on, which may keep what their arguments stand in if that is lent.
    #[inline]
    pub(crate) fn work_for(&mut self, session: &Session, lent: Option<&Shared>) {
        self.no_touch = session.no_touch;
        self.client_id = session.client.id;
        if lent.is_some() {
            self.after().lent = lent.cloned();
        }
    }

    /// The string where it was read from the client, if that is lent and holds little else.
    #[inline]
    pub(super) fn kept(&self, content: &Content<'_>) -> Option<Object> {
        let lent = self.after.as_ref()?.lent.as_ref()?;
        match content {
            Content::Str { bytes, .. } if bytes.len() >= lent.capacity() / 16 * 15 => {
                Some(Object::Str(BigStr::within(lent, bytes)?))
            }
            _ => None,
        }
    }
}
