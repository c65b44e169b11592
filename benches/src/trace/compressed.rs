//! Decompresses zstd and gzip while they are read. Several frames or members may follow one another.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The largest window of zstd that is decoded, that of `--long=27`.
const MOST_WINDOW: u64 = 128 << 20;
/// What is decoded at once.
const STEP_BYTES: usize = 128 << 10;

/// What the reader gives, decompressed if it is compressed.
///
/// # Errors
/// It cannot be read.
pub fn decompressed(source: Box<dyn Read>) -> io::Result<Box<dyn BufRead>> {
    let mut source = BufReader::with_capacity(STEP_BYTES, source);
    let mut start = [0; ZSTD_MAGIC.len()];
    let got = read_up_to(&mut source, &mut start)?;
    let starts = |magic: &[u8]| start[..got].starts_with(magic);
    let (is_zstd, is_gzip) = (starts(&ZSTD_MAGIC) || is_skippable(start), starts(&GZIP_MAGIC));
    let source = Cursor::new(start[..got].to_vec()).chain(source);
    Ok(match (is_zstd, is_gzip) {
        (true, _) => told("zstd", Zstd { source, frame: None }),
        (_, true) => told("gzip", MultiGzDecoder::new(source)),
        _ => Box::new(source),
    })
}

fn told(format: &'static str, decoder: impl Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(STEP_BYTES, Told { format, decoder }))
}

/// A decoder whose errors say in words what is wrong with the file.
struct Told<R> {
    format: &'static str,
    decoder: R,
}

impl<R: Read> Read for Told<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| {
            let format = self.format;
            match error.kind() {
                io::ErrorKind::Interrupted => error,
                _ if ends_early(&error) => invalid(&format!("the {format} file is cut: it ends within its data")),
                _ => invalid(&format!("{format}: {error}")),
            }
        })
    }
}

/// Whether it, or what it comes of, is that the file ends.
fn ends_early(error: &io::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let of_io = error.downcast_ref::<io::Error>();
        if of_io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        // An error of io that wraps another passes that one over as its source.
        next = match of_io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// Fills the buffer, as far as there is something; how far that was.
pub fn read_up_to(source: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn is_skippable(magic: [u8; 4]) -> bool {
    u32::from_le_bytes(magic) & 0xffff_fff0 == 0x184d_2a50
}

/// A reader of zstd frames.
struct Zstd<R> {
    source: R,
    /// The frame that is being read. Each has a decoder of its own: one that is used again refuses windows above 100 MiB.
    frame: Option<FrameDecoder>,
}

impl<R: Read> Zstd<R> {
    /// Begins the next frame; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        let mut magic = [0; 4];
        loop {
            match read_up_to(&mut self.source, &mut magic)? {
                0 => return Ok(false),
                4 if is_skippable(magic) => self.skip()?,
                4 if magic == ZSTD_MAGIC => break,
                _ => return Err(invalid("neither the end of the file nor another frame follows a frame")),
            }
        }
        let mut header = magic.to_vec();
        self.extend(&mut header, 1)?;
        let descriptor = header[4];
        let single_segment = descriptor & 0x20 != 0;
        let content_size_bytes = match (descriptor >> 6, single_segment) {
            (0, single) => usize::from(single),
            (flag, _) => 1 << flag,
        };
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let rest = usize::from(!single_segment) + dictionary_bytes + content_size_bytes;
        self.extend(&mut header, rest)?;
        let window = if single_segment {
            let mut size = [0; 8];
            size[..content_size_bytes].copy_from_slice(&header[header.len() - content_size_bytes..]);
            u64::from_le_bytes(size)
        } else {
            let base = 1u64 << (10 + (header[5] >> 3));
            base + base / 8 * u64::from(header[5] & 7)
        };
        // A frame of one segment says only how long it is; what is decoded does not reach back farther than that.
        if window > MOST_WINDOW && !single_segment {
            return Err(invalid(&format!("a window of {} MiB; 128 is the most", window >> 20)));
        }
        let mut decoder = FrameDecoder::new();
        decoder.init(header.as_slice()).map_err(io::Error::other)?;
        self.frame = Some(decoder);
        Ok(true)
    }

    fn extend(&mut self, header: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
        let from = header.len();
        header.resize(from + bytes, 0);
        self.source.read_exact(&mut header[from..])
    }

    /// Passes over what follows the magic of a frame without data.
    fn skip(&mut self) -> io::Result<()> {
        let mut len = [0; 4];
        self.source.read_exact(&mut len)?;
        let len = u64::from(u32::from_le_bytes(len));
        let passed = io::copy(&mut self.source.by_ref().take(len), &mut io::sink())?;
        if passed < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(decoder) = &mut self.frame else {
                if self.begin()? {
                    continue;
                }
                return Ok(0);
            };
            if decoder.can_collect() > 0 {
                return decoder.read(buffer);
            }
            if decoder.is_finished() {
                let promised = decoder.get_checksum_from_data();
                if promised.is_some() && promised != decoder.get_calculated_checksum() {
                    return Err(invalid("a frame whose checksum is wrong"));
                }
                self.frame = None;
            } else {
                let step = BlockDecodingStrategy::UptoBytes(STEP_BYTES);
                decoder.decode_blocks(&mut self.source, step).map_err(io::Error::other)?;
            }
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn all(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompressed(Box::new(Cursor::new(bytes)))?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn plain() -> Vec<u8> {
        (0..200_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_not_compressed_is_left_as_it_is() {
        for bytes in [&b""[..], b"a", b"abc\n", b"\x28\xb5\x2f"] {
            assert_eq!(all(bytes.to_vec()).unwrap(), bytes);
        }
    }

    #[test]
    fn frames_and_members_follow_one_another() {
        let plain = plain();
        assert_eq!(all(zstd(&plain)).unwrap(), plain);
        assert_eq!(all(gzip(&plain)).unwrap(), plain);
        let skippable = [&[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let twice = [plain.as_slice(), b"end"].concat();
        assert_eq!(all([skippable, zstd(&plain), zstd(b"end")].concat()).unwrap(), twice);
        assert_eq!(all([gzip(&plain), gzip(b"end")].concat()).unwrap(), twice);
    }

    /// A frame of stored blocks with the window of a descriptor.
    fn stored(window: u8, blocks: &[&[u8]]) -> Vec<u8> {
        let mut frame = [&ZSTD_MAGIC[..], &[0, window]].concat();
        for (at, block) in blocks.iter().enumerate() {
            let header = (block.len() as u32) << 3 | u32::from(at + 1 == blocks.len());
            frame.extend_from_slice(&header.to_le_bytes()[..3]);
            frame.extend_from_slice(block);
        }
        frame
    }

    #[test]
    fn windows_of_up_to_128_mib_are_read() {
        const MIB_128: u8 = 17 << 3;
        assert_eq!(all(stored(MIB_128, &[b"ab", b"c"])).unwrap(), b"abc");
        let twice = [stored(MIB_128, &[b"ab"]), stored(MIB_128, &[b"c"])].concat();
        assert_eq!(all(twice).unwrap(), b"abc");
        let error = all(stored(MIB_128 + 1, &[b"ab"])).unwrap_err().to_string();
        assert_eq!(error, "zstd: a window of 144 MiB; 128 is the most");
    }

    #[test]
    fn what_is_cut_or_changed_is_refused() {
        let (zstd, gzip) = (zstd(&plain()), gzip(&plain()));
        for (format, whole) in [("zstd", &zstd), ("gzip", &gzip)] {
            for len in [whole.len() - 3, whole.len() / 2, 5] {
                let error = all(whole[..len].to_vec()).unwrap_err().to_string();
                assert_eq!(error, format!("the {format} file is cut: it ends within its data"), "{len} bytes");
            }
        }
        let mut changed = gzip.clone();
        changed[gzip.len() - 6] ^= 1;
        assert!(all(changed).is_err(), "its checksum tells");
        assert!(all([zstd, b"abc".to_vec()].concat()).is_err());
    }
}
