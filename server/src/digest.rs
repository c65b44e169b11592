//! A signature of values, as DEBUG DIGEST of Redis 7.4 computes it: what two servers hold is equal if theirs are.
//!
//! It is 20 bytes long. What has an order is mixed in, so that each step depends on all before it; the elements of what
//! has none are added, each by its own hash.

use larder_protocol::format_double_digits;
use larder_storage::entry::Entry;
use larder_storage::types::hash::HashRef;
use larder_storage::types::pack::Element;
use larder_storage::types::stream::{Direction, StreamId, StreamRef};
use larder_storage::value::Value;
use sha1::{Digest as _, Sha1};

/// A signature while it is computed; it begins with zeros.
#[derive(Clone, Copy, Default)]
pub(crate) struct Digest([u8; 20]);

impl Digest {
    /// Adds bytes, whose order among other bytes that are added does not matter.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let hash = Sha1::digest(bytes);
        self.0.iter_mut().zip(hash.iter()).for_each(|(own, other)| *own ^= other);
    }

    /// Mixes bytes in, which come after all before them.
    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn mix_element(&mut self, element: Element<'_>) {
        self.mix(element.text(&mut itoa::Buffer::new()));
    }

    /// Adds a signature of its own.
    pub(crate) fn add_digest(&mut self, other: Digest) {
        self.add(&other.0);
    }

    /// Adds what others have added up.
    pub(crate) fn join(&mut self, sum: Digest) {
        self.0.iter_mut().zip(sum.0).for_each(|(own, other)| *own ^= other);
    }

    /// Mixes in a key's value and whether it expires.
    pub(crate) fn mix_entry(&mut self, entry: &Entry<'_>) {
        let value = entry.value();
        self.mix(&type_number(&value).to_be_bytes());
        self.mix_value(value);
        if entry.expiry().is_some() {
            self.add(b"!!expire!!");
        }
    }

    fn mix_value(&mut self, value: Value<'_>) {
        match value {
            Value::Int(number) => self.mix_element(Element::Int(number)),
            Value::Str { bytes, .. } => self.mix(bytes),
            Value::Big(text) => self.mix(text.bytes()),
            Value::List(list) => list.range(0, list.len()).for_each(|element| self.mix_element(element)),
            Value::Set(set) => set.iter().for_each(|member| self.add(member.text(&mut itoa::Buffer::new()))),
            Value::ZSet(zset) => zset.range(0, zset.len()).for_each(|(member, score)| {
                let mut own = Digest::default();
                own.mix(member);
                own.mix(format_double_digits(score).as_bytes());
                self.add_digest(own);
            }),
            Value::Hash(hash) => self.add_fields(hash),
            Value::Stream(stream) => self.mix_stream(stream),
        }
    }

    fn add_fields(&mut self, hash: HashRef<'_>) {
        hash.each(|field| {
            let mut own = Digest::default();
            own.mix_element(field.name);
            own.mix_element(field.value);
            if field.expiry.is_some() {
                own.add(b"!!hexpire!!");
            }
            self.add_digest(own);
        });
    }

    fn mix_stream(&mut self, stream: StreamRef<'_>) {
        for entry in stream.log().range(StreamId::MIN, StreamId::MAX, Direction::Forward) {
            self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
            for (field, value) in entry.fields() {
                self.mix_element(field);
                self.mix_element(value);
            }
        }
    }

    /// The signature in hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The number that Redis has for a type.
fn type_number(value: &Value<'_>) -> u32 {
    match value {
        Value::Int(_) | Value::Str { .. } | Value::Big(_) => 0,
        Value::List(_) => 1,
        Value::Set(_) => 2,
        Value::ZSet(_) => 3,
        Value::Hash(_) => 4,
        Value::Stream(_) => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn order_matters_where_bytes_are_mixed_in_and_not_where_they_are_added() {
        let of = |bytes: [&[u8]; 2], put: fn(&mut Digest, &[u8])| {
            let mut digest = Digest::default();
            bytes.iter().for_each(|bytes| put(&mut digest, bytes));
            digest.hex()
        };
        assert_eq!(of([b"a", b"b"], Digest::add), of([b"b", b"a"], Digest::add));
        assert_ne!(of([b"a", b"b"], Digest::mix), of([b"b", b"a"], Digest::mix));
        assert_eq!(Digest::default().hex(), "0".repeat(40));
        // SHA-1 of no bytes, as FIPS 180-4 has it.
        let mut digest = Digest::default();
        digest.add(b"");
        assert_eq!(digest.hex(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
