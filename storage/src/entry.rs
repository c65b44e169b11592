//! The bytes of an entry: its key, expiry and value (or a pointer to the value) in one slab cell.
//!
//! ```text
//! byte 0      [2:0] kind  [4:3] form (0 inline, 1 integer, 2 object)  [5] has expiry  [6] raw
//! key length  1 byte up to 253; 254 then a u16; 255 then a boxed key (one too long for a cell): its address and its length
//! expiry      8 bytes, if any: milliseconds since 1970
//! value len   inline form only: 1 byte up to 253, or 254 then a u16
//! key         its bytes, unless boxed
//! value       inline: the bytes of a string or packed collection; integer: 8 bytes; object: itself, at a multiple of 8
//! ```
//!
//! All integers are little-endian. Objects and boxed keys are owned by the cell: whoever frees or overwrites it takes them
//! out first with [`take`]. Cells are aligned to 8 bytes, and whoever moves one copies it as it is.

#![expect(unsafe_code, reason = "a cell owns an object, and a boxed key, that it holds as bytes")]

use crate::heap::{self, Movable, MovableBox, Mover};
use crate::slab::{MAX_CELL, cell_size};
use crate::value::{Kind, Object, Value};

const FORM_INLINE: u8 = 0;
const FORM_INT: u8 = 1;
const FORM_OBJECT: u8 = 2;
const FORM: u8 = 3 << 3;
const HAS_EXPIRY: u8 = 1 << 5;
const RAW: u8 = 1 << 6;
const SHORT_AT_MOST: usize = 253;
const LENGTH_U16: u8 = 254;
const KEY_BOXED: u8 = 255;
/// Bytes of the address and the length of a boxed key.
const BOXED_KEY: usize = 16;

/// Longer keys are boxed, so that every other part fits the largest cell beside them.
const KEY_INLINE_AT_MOST: usize = MAX_CELL / 2;

/// The value part of an entry to be written.
pub(crate) enum Payload<'a> {
    Inline { kind: Kind, bytes: &'a [u8], raw: bool },
    Int(i64),
    Object(Object),
}

impl Payload<'_> {
    /// See [`Value::first_deadline`].
    #[inline]
    pub(crate) fn first_deadline(&self) -> u64 {
        match self {
            Self::Inline { kind, bytes, raw } => Value::packed(*kind, bytes, *raw).first_deadline(),
            Self::Int(_) => u64::MAX,
            Self::Object(object) => object.value().first_deadline(),
        }
    }
}

/// An entry to be written.
pub(crate) struct Parts<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) expiry: Option<u64>,
    pub(crate) payload: Payload<'a>,
}

/// Bytes of a length field.
fn length_bytes(len: usize) -> usize {
    if len <= SHORT_AT_MOST { 1 } else { 3 }
}

/// Whether a value of `len` bytes can stand in the cell of this key.
#[inline]
pub(crate) fn fits_inline(key: &[u8], len: usize) -> bool {
    let key = if key.len() <= KEY_INLINE_AT_MOST { key.len() + 3 } else { 1 + BOXED_KEY };
    1 + key + 8 + 3 + len <= MAX_CELL
}

impl Parts<'_> {
    /// Whether its cell will own memory outside itself.
    #[inline]
    pub(crate) fn owns(&self) -> bool {
        self.key.len() > KEY_INLINE_AT_MOST || matches!(self.payload, Payload::Object(_))
    }

    /// Bytes that the entry takes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let expiry = if self.expiry.is_some() { 8 } else { 0 };
        let key = match self.key.len() {
            len if len <= KEY_INLINE_AT_MOST => length_bytes(len) + len,
            _ => 1 + BOXED_KEY,
        };
        let value = match &self.payload {
            Payload::Inline { bytes, .. } => length_bytes(bytes.len()) + bytes.len(),
            Payload::Int(_) => 8,
            Payload::Object(_) => return object_at(1 + key + expiry) + size_of::<Object>(),
        };
        1 + key + expiry + value
    }

    /// Writes the entry into a cell of at least [`Parts::len`] bytes. What the cell held is forgotten.
    #[inline]
    pub(crate) fn write(self, cell: &mut [u8]) {
        let (kind, form, raw) = match &self.payload {
            Payload::Inline { kind, raw, .. } => (*kind, FORM_INLINE, *raw),
            Payload::Int(_) => (Kind::String, FORM_INT, false),
            Payload::Object(object) => (object.kind(), FORM_OBJECT, false),
        };
        let expiry = if self.expiry.is_some() { HAS_EXPIRY } else { 0 };
        cell[0] = kind as u8 | form << 3 | expiry | if raw { RAW } else { 0 };
        let mut at = 1;
        let boxed = self.key.len() > KEY_INLINE_AT_MOST;
        if boxed {
            cell[1] = KEY_BOXED;
            put_boxed_key(cell, MovableBox::from(self.key));
            at = 2 + BOXED_KEY;
        } else {
            put_length(cell, &mut at, self.key.len());
        }
        if let Some(expiry) = self.expiry {
            put(cell, &mut at, &expiry.to_le_bytes());
        }
        if let Payload::Inline { bytes, .. } = &self.payload {
            put_length(cell, &mut at, bytes.len());
        }
        if !boxed {
            put(cell, &mut at, self.key);
        }
        match self.payload {
            Payload::Inline { bytes, .. } => put(cell, &mut at, bytes),
            Payload::Int(number) => put(cell, &mut at, &number.to_le_bytes()),
            Payload::Object(object) => {
                let place = object_in(cell, object_at(at));
                // SAFETY: the place is within the cell and aligned, and what is written over is forgotten.
                unsafe { place.write(object) };
            }
        }
    }
}

/// Where an object stands behind a key that ends there.
#[inline]
fn object_at(key_end: usize) -> usize {
    key_end.next_multiple_of(align_of::<Object>())
}

/// The place of an object in a cell. Panics if it is not within the cell, or not aligned.
#[inline]
fn object_in(cell: &mut [u8], at: usize) -> *mut Object {
    let place = cell[at..at + size_of::<Object>()].as_mut_ptr().cast::<Object>();
    assert!(place.is_aligned(), "a cell that is not aligned");
    place
}

#[inline]
fn put(cell: &mut [u8], at: &mut usize, bytes: &[u8]) {
    cell[*at..*at + bytes.len()].copy_from_slice(bytes);
    *at += bytes.len();
}

#[inline]
fn put_length(cell: &mut [u8], at: &mut usize, len: usize) {
    if len <= SHORT_AT_MOST {
        cell[*at] = len as u8;
        *at += 1;
    } else {
        cell[*at] = LENGTH_U16;
        cell[*at + 1..*at + 3].copy_from_slice(&(len as u16).to_le_bytes());
        *at += 3;
    }
}

#[inline]
fn length(cell: &[u8], at: &mut usize) -> usize {
    let first = cell[*at];
    if first < LENGTH_U16 {
        *at += 1;
        return first as usize;
    }
    let len = u16::from_le_bytes([cell[*at + 1], cell[*at + 2]]);
    *at += 3;
    len as usize
}

#[inline]
fn word(cell: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&cell[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// An entry as it is read.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    cell: &'a [u8],
    key: &'a [u8],
    value_at: u16,
    value_len: u16,
}

impl<'a> Entry<'a> {
    /// Reads the entry in a live cell of a table's slab.
    #[inline(always)]
    pub(crate) fn read(cell: &'a [u8]) -> Self {
        let flags = cell[0];
        let (key_len, value_len) = (cell[1] as usize, cell[2] as usize);
        if flags & (FORM | HAS_EXPIRY) == 0 && key_len <= SHORT_AT_MOST && value_len <= SHORT_AT_MOST {
            // A short value without an expiry, as most are.
            let value_at = 3 + key_len;
            return Self { cell, key: &cell[3..value_at], value_at: value_at as u16, value_len: value_len as u16 };
        }
        Self::read_any(cell)
    }

    fn read_any(cell: &'a [u8]) -> Self {
        let flags = cell[0];
        let mut at = 1;
        let boxed = cell[1] == KEY_BOXED;
        let key_len = if boxed { 0 } else { length(cell, &mut at) };
        if boxed {
            at = 2 + BOXED_KEY;
        }
        if flags & HAS_EXPIRY != 0 {
            at += 8;
        }
        let form = (flags & FORM) >> 3;
        let value_len = match form {
            FORM_INLINE => length(cell, &mut at),
            FORM_OBJECT => size_of::<Object>(),
            _ => 8,
        };
        let key = if boxed { boxed_key(cell) } else { &cell[at..at + key_len] };
        let key_end = at + key_len;
        let value_at = if form == FORM_OBJECT { object_at(key_end) } else { key_end };
        Self { cell, key, value_at: value_at as u16, value_len: value_len as u16 }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// Where the value stands in the cell; no cell is longer than a `u16` can tell.
    #[inline]
    fn value_range(&self) -> std::ops::Range<usize> {
        let start = usize::from(self.value_at);
        start..start + usize::from(self.value_len)
    }

    /// Where the expiry stands, or would stand.
    fn expiry_at(&self) -> usize {
        match self.cell[1] {
            KEY_BOXED => 2 + BOXED_KEY,
            LENGTH_U16 => 4,
            _ => 2,
        }
    }

    /// Bytes that it takes in its cell.
    pub(crate) fn len(&self) -> usize {
        self.value_range().end
    }

    /// The time at which it expires, in milliseconds since 1970.
    #[inline]
    pub fn expiry(&self) -> Option<u64> {
        (self.cell[0] & HAS_EXPIRY != 0).then(|| word(self.cell, self.expiry_at()))
    }

    /// Whether its time has come.
    #[inline]
    pub fn has_expired(&self, now: u64) -> bool {
        self.expiry().is_some_and(|at| at <= now)
    }

    /// The type.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_bits(self.cell[0] & 7)
    }

    /// The value.
    #[inline(always)]
    pub fn value(&self) -> Value<'a> {
        match self.cell[0] >> 3 & 3 {
            FORM_INLINE => {
                let bytes = &self.cell[self.value_range()];
                Value::packed(self.kind(), bytes, self.cell[0] & RAW != 0)
            }
            FORM_INT => Value::Int(word(self.cell, self.value_range().start) as i64),
            _ => self.object_ref().value(),
        }
    }

    /// The value that stands in the cell itself: `None` for one with memory of its own.
    pub(crate) fn inline_payload(&self) -> Option<Payload<'a>> {
        match self.cell[0] >> 3 & 3 {
            FORM_INLINE => Some(Payload::Inline {
                kind: self.kind(),
                bytes: &self.cell[self.value_range()],
                raw: self.cell[0] & RAW != 0,
            }),
            FORM_INT => Some(Payload::Int(word(self.cell, self.value_range().start) as i64)),
            _ => None,
        }
    }

    /// The value with memory of its own, if it is one.
    pub fn object(&self) -> Option<&'a Object> {
        (self.cell[0] >> 3 & 3 == FORM_OBJECT).then(|| self.object_ref())
    }

    fn object_ref(&self) -> &'a Object {
        let place = self.cell[self.value_range()].as_ptr().cast::<Object>();
        // SAFETY: the form says that `write` left an object here, aligned; the cell owns it, and the borrow of the cell lasts
        // as long as the reference.
        unsafe { &*place }
    }

    fn owns_key(&self) -> bool {
        self.cell[1] == KEY_BOXED
    }

    /// Whether the cell owns memory outside itself.
    pub(crate) fn owns(&self) -> bool {
        self.owns_key() || self.cell[0] >> 3 & 3 == FORM_OBJECT
    }

    /// Bytes of a boxed key.
    pub(crate) fn boxed_key_bytes(&self) -> usize {
        if self.owns_key() { boxed_key_memory(self.key) } else { 0 }
    }
}

/// Bytes that a key takes outside its cell.
pub(crate) fn boxed_key_memory(key: &[u8]) -> usize {
    if key.len() > KEY_INLINE_AT_MOST { heap::taken(key.len()) } else { 0 }
}

fn boxed_key(cell: &[u8]) -> &[u8] {
    // SAFETY: the marker says that a boxed key is named here; the cell owns it.
    unsafe { &*boxed_key_place(cell) }
}

fn boxed_key_place(cell: &[u8]) -> *mut [u8] {
    let start = std::ptr::with_exposed_provenance_mut::<u8>(word(cell, 2) as usize);
    std::ptr::slice_from_raw_parts_mut(start, word(cell, 10) as usize)
}

/// Leaves a key to a cell.
fn put_boxed_key(cell: &mut [u8], key: MovableBox<[u8]>) {
    let (key, Movable) = MovableBox::into_raw_with_allocator(key);
    put(cell, &mut 2, &(key.cast::<u8>().expose_provenance() as u64).to_le_bytes());
    put(cell, &mut 10, &(key.len() as u64).to_le_bytes());
}

/// Takes the key out of a cell that has a boxed one, whose marker must be written over next.
///
/// # Safety
///
/// The cell is marked as having one.
unsafe fn take_boxed_key(cell: &mut [u8]) -> MovableBox<[u8]> {
    // SAFETY: `put_boxed_key` left it here, and the caller takes it once.
    unsafe { MovableBox::from_raw_in(boxed_key_place(cell), Movable) }
}

/// Moves the boxed key of a live cell, if it has one and that is to be moved.
pub(crate) fn settle_key(cell: &mut [u8], mover: &mut Mover) {
    let entry = Entry::read(cell);
    if entry.owns_key() && mover.moves(entry.key().as_ptr().addr(), entry.key().len()) {
        let moved = MovableBox::from(entry.key());
        // SAFETY: it has one, and gets the other in its place.
        drop(unsafe { take_boxed_key(cell) });
        put_boxed_key(cell, moved);
    }
}

/// The object of a live cell, to be changed in place.
pub(crate) fn object_mut(cell: &mut [u8]) -> Option<&mut Object> {
    let entry = Entry::read(cell);
    entry.object()?;
    let at = entry.value_range().start;
    // SAFETY: as in `object_ref`, and the cell is borrowed exclusively.
    Some(unsafe { &mut *object_in(cell, at) })
}

/// The bytes of a string that stands in a live cell, to be changed in place: `None` for all other entries, and for a
/// string that is not marked as raw, which such a change would make it.
pub(crate) fn raw_string_mut(cell: &mut [u8]) -> Option<&mut [u8]> {
    let entry = Entry::read(cell);
    let range = matches!(entry.value(), Value::Str { raw: true, .. }).then(|| entry.value_range())?;
    Some(&mut cell[range])
}

/// Takes what the cell owns out of it: its object, and a boxed key, which is freed. The cell must be freed or
/// overwritten next; it is marked as a free one, so that nothing can be taken twice.
pub(crate) fn take(cell: &mut [u8]) -> Option<Object> {
    let entry = Entry::read(cell);
    let (owns_key, has_object, value_at) = (entry.owns_key(), entry.object().is_some(), entry.value_range().start);
    if owns_key {
        // SAFETY: it has one, and what is written below ends this cell's ownership.
        drop(unsafe { take_boxed_key(cell) });
    }
    let object = has_object.then(|| {
        let place = object_in(cell, value_at);
        // SAFETY: the form says that an object stands here, and byte 0 below ends the cell's ownership.
        unsafe { place.read() }
    });
    if owns_key || has_object {
        cell[0] = Kind::String as u8 | FORM_INT << 3;
        cell[1] = 0;
    }
    object
}

/// Writes a short string over another, where the key stays as it is: the entry has no expiry, owns nothing, and its
/// cell is as long as the new one would be. False, and nothing is changed, for all other entries.
#[inline]
pub(crate) fn overwrite_string(cell: &mut [u8], bytes: &[u8]) -> bool {
    let (key_len, value_len) = (cell[1] as usize, cell[2] as usize);
    let start = 3 + key_len;
    let plain = cell[0] & !RAW == Kind::String as u8
        && key_len.max(value_len).max(bytes.len()) <= SHORT_AT_MOST
        && cell_size(start + bytes.len()) == cell.len();
    if plain {
        cell[0] = Kind::String as u8;
        cell[2] = bytes.len() as u8;
        cell[start..start + bytes.len()].copy_from_slice(bytes);
    }
    plain
}

/// Writes another expiry into an entry that has one.
pub(crate) fn overwrite_expiry(cell: &mut [u8], at: u64) {
    let entry = Entry::read(cell);
    if entry.expiry().is_some() {
        let place = entry.expiry_at();
        cell[place..place + 8].copy_from_slice(&at.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(key: &[u8], expiry: Option<u64>, bytes: &[u8]) {
        let parts = Parts { key, expiry, payload: Payload::Inline { kind: Kind::String, bytes, raw: true } };
        let mut cell = vec![0; parts.len()];
        parts.write(&mut cell);
        let entry = Entry::read(&cell);
        assert_eq!((entry.key(), entry.expiry()), (key, expiry));
        assert!(matches!(entry.value(), Value::Str { bytes: read, raw: true } if read == bytes));
        take(&mut cell);
    }

    #[test]
    fn every_length_reads_back() {
        for key in [0, 1, 16, 253, 254, 255, 1000, 1024, 1025, 5000] {
            for value in [0, 1, 44, 253, 254, 900] {
                for expiry in [None, Some(0), Some(u64::MAX)] {
                    let key = vec![b'k'; key];
                    assert!(fits_inline(&key, value));
                    round_trip(&key, expiry, &vec![b'v'; value]);
                }
            }
        }
    }

    #[test]
    fn a_short_string_is_written_over_another_of_its_size() {
        let written = |key: &[u8], expiry, old: &[u8], new: &[u8]| {
            let parts = Parts { key, expiry, payload: Payload::Inline { kind: Kind::String, bytes: old, raw: true } };
            let mut cell = vec![0; cell_size(parts.len())];
            parts.write(&mut cell);
            let written = overwrite_string(&mut cell, new);
            let entry = Entry::read(&cell);
            let (bytes, raw) = if written { (new, false) } else { (old, true) };
            assert_eq!((entry.key(), entry.expiry()), (key, expiry));
            assert!(matches!(entry.value(), Value::Str { bytes: read, raw: kept } if read == bytes && kept == raw));
            take(&mut cell);
            written
        };
        assert!(written(b"key", None, b"12345678", b"8765432"));
        assert!(written(&[1; 253], None, &[2; 253], &[3; 252]));
        assert!(!written(b"key", None, b"1234", b"12345678901234567890"), "another cell");
        assert!(!written(b"key", Some(1), b"1234", b"4321"), "an expiry");
        assert!(!written(&[1; 254], None, b"1234", b"4321"), "a long key");
        assert!(!written(b"key", None, &[2; 254], &[3; 253]), "a long value before");
        assert!(!written(b"key", None, &[2; 253], &[3; 254]), "a long value");
        assert!(!written(&[1; 2000], None, b"1234", b"4321"), "a boxed key");
        let mut number = vec![0; 16];
        Parts { key: b"key", expiry: None, payload: Payload::Int(7) }.write(&mut number);
        assert!(!overwrite_string(&mut number, b"1234567"), "an integer");
    }

    #[test]
    fn only_the_bytes_of_a_raw_string_are_changed_in_place() {
        let edited = |payload| {
            let mut cell = vec![0; 64];
            Parts { key: b"key", expiry: Some(7), payload }.write(&mut cell);
            let done = raw_string_mut(&mut cell).is_some_and(|bytes| {
                bytes[1] = b'X';
                true
            });
            let entry = Entry::read(&cell);
            assert_eq!((entry.key(), entry.expiry()), (&b"key"[..], Some(7)));
            (done, matches!(entry.value(), Value::Str { bytes: b"aXc", raw: true }))
        };
        let inline = |kind, raw| Payload::Inline { kind, bytes: b"abc", raw };
        assert_eq!(edited(inline(Kind::String, true)), (true, true));
        assert_eq!(edited(inline(Kind::String, false)), (false, false));
        assert_eq!(edited(inline(Kind::ZSet, true)), (false, false));
        assert_eq!(edited(Payload::Int(123)), (false, false));
    }

    #[test]
    fn an_object_is_owned_once() {
        for key in [&b"k"[..], b"seventeen letters", &[b'k'; 300], &[b'k'; 3000]] {
            for expiry in [None, Some(5)] {
                let object = Object::Str(crate::value::BigStr::new(&[1; 3000]));
                let parts = Parts { key, expiry, payload: Payload::Object(object) };
                let len = parts.len();
                let mut words = vec![0u64; len.div_ceil(8)];
                // SAFETY: words are as good as so many bytes.
                let (_, cell, _) = unsafe { words.align_to_mut::<u8>() };
                parts.write(cell);
                let entry = Entry::read(cell);
                assert_eq!((entry.key(), entry.expiry(), entry.len()), (key, expiry, len));
                assert!(matches!(entry.value(), Value::Big(string) if string.bytes().len() == 3000));
                assert!(object_mut(cell).is_some());
                assert!(take(cell).is_some());
                assert!(take(cell).is_none());
            }
        }
    }
}
