//! Ziplists, in which Redis before 7.0 kept its small collections.
//!
//! ```text
//! bytes (u32) | place of the last entry (u32) | entries (u16) | entry... | 0xff          little endian
//! entry    size of the one before (u8; or 254 and a u32) | encoding, length (big endian) or integer | bytes
//! ```

use larder_storage::types::pack::{Element, push_back};

const HEAD: usize = 10;
const END: u8 = 0xff;
/// A size that does not fit one byte.
const LONG_SIZE: u8 = 254;
/// More entries than the head can tell.
const UNCOUNTED: usize = 0xffff;

/// The packed sequence of a ziplist's entries; `None` if it is malformed.
pub(super) fn to_pack(ziplist: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = ziplist.split_first_chunk::<HEAD>()?;
    let [a, b, c, d, e, f, g, h, low, high] = *head;
    let (size, tail) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
    let told = usize::from(u16::from_le_bytes([low, high]));
    let (END, mut entries) = rest.split_last().map(|(end, entries)| (*end, entries))? else { return None };
    if size != ziplist.len() || tail >= size {
        return None;
    }
    let (mut pack, mut count, mut before) = (Vec::new(), 0, 0);
    while !entries.is_empty() {
        let at = size - 1 - entries.len();
        let (element, rest) = entry(entries, before)?;
        if rest.is_empty() && at != tail {
            return None;
        }
        push_back(&mut pack, element.stored());
        (count, before, entries) = (count + 1, entries.len() - rest.len(), rest);
    }
    (told == UNCOUNTED || told == count).then_some(pack)
}

/// The first entry, and what follows it.
fn entry(bytes: &[u8], before: usize) -> Option<(Element<'_>, &[u8])> {
    let (size, rest) = bytes.split_first()?;
    let (size, rest) = match *size {
        END => return None,
        LONG_SIZE => {
            let (size, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*size) as usize, rest)
        }
        size => (usize::from(size), rest),
    };
    if size != before {
        return None;
    }
    let (encoding, rest) = rest.split_first()?;
    let low = encoding & 0x3f;
    match encoding >> 6 {
        0 => text(rest, low.into()),
        1 => {
            let (next, rest) = rest.split_first()?;
            text(rest, u16::from_be_bytes([low, *next]).into())
        }
        2 => {
            let (len, rest) = rest.split_first_chunk()?;
            text(rest, u32::from_be_bytes(*len))
        }
        _ => integer(*encoding, rest),
    }
}

fn text(bytes: &[u8], len: u32) -> Option<(Element<'_>, &[u8])> {
    let (text, rest) = bytes.split_at_checked(len as usize)?;
    Some((Element::Bytes(text), rest))
}

fn integer(encoding: u8, bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let width = match encoding {
        0xc0 => 2,
        0xd0 => 4,
        0xe0 => 8,
        0xf0 => 3,
        0xfe => 1,
        0xf1..=0xfd => return Some((Element::Int(i64::from(encoding & 0xf) - 1), bytes)),
        _ => return None,
    };
    let (number, rest) = bytes.split_at_checked(width)?;
    let mut word = [0; 8];
    word[8 - width..].copy_from_slice(number);
    // The bytes stand at the upper end, so that the shift brings the sign along.
    Some((Element::Int(i64::from_le_bytes(word) >> (64 - 8 * width)), rest))
}

#[cfg(test)]
mod tests {
    use larder_storage::types::pack::Pack;

    use super::*;

    fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
        let body = entries.concat();
        let tail = HEAD + body.len() - entries.last().map_or(0, |last| last.len());
        let head = [((HEAD + body.len() + 1) as u32).to_le_bytes(), (tail as u32).to_le_bytes()].concat();
        [&head[..], &(entries.len() as u16).to_le_bytes(), &body, &[END]].concat()
    }

    #[test]
    fn every_encoding_is_read() {
        let long = [&[10, 0x40, 70][..], &[b'x'; 70]].concat();
        let list = ziplist(&[
            &[0, 2, b'a', b'b'],
            &[4, 0xf1],
            &[2, 0xfd],
            &[2, 0xfe, 0x80],
            &[3, 0xc0, 0, 0x80],
            &[4, 0xf0, 0xff, 0xff, 0xff],
            &[5, 0xd0, 0, 0, 0, 0x80],
            &[LONG_SIZE, 6, 0, 0, 0, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            &[14, 0x80, 0, 0, 0, 4, b'-', b'4', b'9', b'5'],
            &long,
        ]);
        let pack = to_pack(&list).unwrap();
        Pack(&pack).validate();
        let all: Vec<_> = Pack(&pack).iter().collect();
        let integers = [0, 12, -128, -32768, -1, i64::from(i32::MIN), i64::MIN, -495].map(Element::Int);
        let expected = [&[Element::Bytes(b"ab")][..], &integers, &[Element::Bytes(&[b'x'; 70])]].concat();
        assert_eq!(all, expected);
        assert_eq!(to_pack(&ziplist(&[])), Some(Vec::new()));
        for cut in 0..list.len() {
            assert_eq!(to_pack(&list[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let good = ziplist(&[&[0, 1, b'a'], &[3, 1, b'b']]);
        assert!(to_pack(&good).is_some());
        // The size, the place of the last entry, the count, the size of the first entry, an encoding, the end.
        for (at, byte) in [(0, 1), (4, 10), (8, 3), (13, 2), (14, 0xff), (14, 2), (good.len() - 1, 0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(to_pack(&bad), None, "{at}");
        }
    }
}
