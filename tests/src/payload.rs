//! Payloads of RESTORE, put together by hand and apart from larder's own code.

use crate::random::Random;

/// A value of each type of the format, with its number in front; all but [`SINCE_7_2`] and [`SINCE_7_4`] are known to
/// Redis 7.0.
pub fn examples() -> Vec<Vec<u8>> {
    let typed = |kind: u8, parts: &[Vec<u8>]| [vec![kind], parts.concat()].concat();
    let words = |words: &[&str]| words.iter().map(|word| string(word.as_bytes())).collect::<Vec<_>>().concat();
    let blob = |bytes: Vec<u8>| string(&bytes);
    let pairs: &[&str] = &["a", "1", "b", "2.5", "c", "4000"];
    vec![
        typed(0, &[words(&["hello"])]),
        typed(0, &[vec![0xc1, 0, 0x80]]),
        // A hundred times "x": itself, then a repetition.
        typed(0, &[vec![0xc3, 5, 0x40, 100, 0, b'x', 0xe0, 90, 0]]),
        typed(1, &[vec![3], words(&["one", "2", "three"])]),
        typed(2, &[vec![4], words(&["1", "2", "x", "-70000"])]),
        typed(
            3,
            &[
                vec![4],
                words(&["a"]),
                vec![3, b'1', b'.', b'5'],
                words(&["b"]),
                vec![254],
                words(&["c"]),
                vec![255],
                words(&["d"]),
                vec![2, b'-', b'3'],
            ],
        ),
        typed(4, &[vec![2], words(&["f1", "v", "f2", "17"])]),
        typed(
            5,
            &[vec![2], words(&["b"]), 2.5_f64.to_le_bytes().to_vec(), words(&["a"]), (-1.0_f64).to_le_bytes().to_vec()],
        ),
        typed(9, &[blob(b"\x02\x03foo\x03\x00bar\x02f2\x01\x010.\xff".to_vec())]),
        typed(10, &[blob(ziplist(&["a", "5", "xyz"]))]),
        typed(11, &[blob([&[2, 0, 0, 0, 3, 0, 0, 0][..], &[0xff, 0xff, 5, 0, 9, 1]].concat())]),
        typed(12, &[blob(ziplist(pairs))]),
        typed(13, &[blob(ziplist(pairs))]),
        typed(14, &[vec![2], blob(ziplist(&["l", "r"])), blob(ziplist(&["7"]))]),
        typed(15, &[nodes(), stream_facts(false), group(15)]),
        typed(16, &[blob(listpack(pairs))]),
        typed(17, &[blob(listpack(pairs))]),
        typed(
            18,
            &[vec![3, 2], blob(listpack(&["a", "1"])), vec![1], words(&["plain"]), vec![2], blob(listpack(&["z"]))],
        ),
        typed(19, &[nodes(), stream_facts(true), group(19)]),
        typed(SINCE_7_2[0], &[blob(listpack(&["m", "1", "n"]))]),
        typed(SINCE_7_2[1], &[nodes(), stream_facts(true), group(21)]),
        typed(
            SINCE_7_4[0],
            &[EARLIEST_MS.to_le_bytes().to_vec(), vec![2, 0], words(&["f", "v"]), vec![1], words(&["g", "w"])],
        ),
        typed(
            SINCE_7_4[1],
            &[EARLIEST_MS.to_le_bytes().to_vec(), blob(listpack(&["f", "v", "4000000000000", "g", "w", "0"]))],
        ),
    ]
}

/// Types that Redis 7.2 brought: packed sets, and streams that tell when a consumer was active.
pub const SINCE_7_2: [u8; 2] = [20, 21];
/// Types that Redis 7.4 brought: hashes of which fields expire, large and packed.
pub const SINCE_7_4: [u8; 2] = [24, 25];
/// When the first field of the example expires, in milliseconds since 1970.
const EARLIEST_MS: u64 = 4_000_000_000_000;

/// A payload that Redis 7.0 knows, now and then with a checksum that is wrong.
pub fn any(random: &mut Random) -> Vec<u8> {
    let known: Vec<Vec<u8>> = examples().into_iter().filter(|value| value[0] < SINCE_7_2[0]).collect();
    let mut payload = seal(random.pick::<Vec<u8>>(&known), 9);
    if random.once_in(20) {
        *payload.last_mut().unwrap() ^= 1;
    }
    payload
}

/// The payload of a type and a value.
pub fn seal(value: &[u8], version: u16) -> Vec<u8> {
    let mut payload = [value, &version.to_le_bytes()].concat();
    payload.extend(checksum(&payload).to_le_bytes());
    payload
}

/// CRC-64 with the polynomial of David Jones, bit by bit.
fn checksum(bytes: &[u8]) -> u64 {
    const REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
    bytes.iter().fold(0, |crc, byte| {
        let step = |crc: u64, _| if crc & 1 == 1 { crc >> 1 ^ REFLECTED } else { crc >> 1 };
        (0..8).fold(crc ^ u64::from(*byte), step)
    })
}

/// A string shorter than 16 KiB with its length.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let head = if bytes.len() < 64 {
        vec![bytes.len() as u8]
    } else {
        vec![0x40 | (bytes.len() >> 8) as u8, bytes.len() as u8]
    };
    [head, bytes.to_vec()].concat()
}

/// A listpack of short strings and of integers: those from 0 to 4095, and those of more than 32 bits.
pub fn listpack(words: &[&str]) -> Vec<u8> {
    let element = |word: &&str| {
        let mut element = match word.parse::<u64>() {
            Ok(number @ 0..128) => vec![number as u8],
            Ok(number @ 128..4096) => vec![0xc0 | (number >> 8) as u8, number as u8],
            Ok(number) => [&[0xf4][..], &number.to_le_bytes()].concat(),
            Err(_) => [&[0x80 | word.len() as u8], word.as_bytes()].concat(),
        };
        element.push(element.len() as u8);
        element
    };
    let body: Vec<u8> = words.iter().flat_map(element).collect();
    let head = [&(body.len() as u32 + 7).to_le_bytes()[..], &(words.len() as u16).to_le_bytes()].concat();
    [head, body, vec![0xff]].concat()
}

/// A ziplist of short strings and of integers of 16 bits.
pub fn ziplist(words: &[&str]) -> Vec<u8> {
    let (mut body, mut before) = (Vec::new(), 0);
    for word in words {
        let entry = match word.parse::<i16>() {
            Ok(number) => [&[before as u8, 0xc0][..], &number.to_le_bytes()].concat(),
            Err(_) => [&[before as u8, word.len() as u8], word.as_bytes()].concat(),
        };
        before = entry.len();
        body.extend(entry);
    }
    let (size, tail) = (body.len() as u32 + 11, (10 + body.len() - before) as u32);
    [&size.to_le_bytes()[..], &tail.to_le_bytes(), &(words.len() as u16).to_le_bytes(), &body, &[0xff]].concat()
}

/// The node of a stream: 7-1 and 7-2, deleted, with the same field, and 8-0 with another one.
fn nodes() -> Vec<u8> {
    let elements = "2 1 1 name 0 2 0 0 ada 4 3 0 1 bo 4 0 1 4095 1 who cy 6".split(' ').collect::<Vec<_>>();
    let mut node = listpack(&elements);
    // The number that leads from 7-1 to 8-0 is negative.
    let at = node.windows(2).position(|pair| pair == [0xcf, 0xff]).unwrap();
    node[at] = 0xdf;
    [vec![1], string(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1]), string(&node)].concat()
}

fn stream_facts(is_told: bool) -> Vec<u8> {
    let told: &[u8] = if is_told { &[7, 1, 7, 2, 3] } else { &[] };
    [&[2, 8, 0], told].concat()
}

/// Two groups: one that has read 7-1 and 7-2, with two consumers, and one that has read nothing.
fn group(kind: u8) -> Vec<u8> {
    const AT_MS: u64 = 1_600_000_000_000;
    let id = |seq: u8| [&[0; 7][..], &[7], &[0; 7], &[seq]].concat();
    let reads = |reads: &[u8]| if kind == 15 { Vec::new() } else { reads.to_vec() };
    let active = if kind == SINCE_7_2[1] { u64::MAX.to_le_bytes().to_vec() } else { Vec::new() };
    let consumer = |name: &[u8], own: Vec<u8>| {
        [string(name), AT_MS.to_le_bytes().to_vec(), active.clone(), vec![own.len() as u8 / 16], own].concat()
    };
    let pending = |seq| [id(seq), AT_MS.to_le_bytes().to_vec(), vec![seq]].concat();
    [
        vec![2],
        [string(b"g"), vec![7, 2], reads(&[2]), vec![2], pending(1), pending(2)].concat(),
        [vec![3], consumer(b"ada", id(2)), consumer(b"bo", id(1)), consumer(b"idle", Vec::new())].concat(),
        [string(b"h"), vec![0, 0], reads(&[0x81, 255, 255, 255, 255, 255, 255, 255, 255]), vec![0, 0]].concat(),
    ]
    .concat()
}
