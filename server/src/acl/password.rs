//! Passwords: only their SHA-256 is kept, and it is compared in a time that does not depend on what is the same.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Bits of a password that ACL GENPASS makes unless it is told otherwise.
pub(crate) const GENERATED_BITS: i64 = 256;
/// The most bits that ACL GENPASS makes.
pub(crate) const MAX_GENERATED_BITS: i64 = 4096;

/// The hash of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    /// Hashes a password.
    pub(crate) fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// Reads the form that ACL LIST shows: 64 hexadecimal digits in small letters.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_chunks::<2>() else { return None };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits.
    pub(crate) fn text(&self) -> String {
        hexadecimal(&self.0)
    }

    /// Whether it is one of `known`. All of them are looked at, and all of each.
    pub(crate) fn is_among(&self, known: &[Self]) -> bool {
        known.iter().fold(Choice::from(0), |found, other| found | self.0.ct_eq(&other.0)).into()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random text of hexadecimal digits with at least so many bits, from the system's source for secrets: a seed of the
/// engine must not make passwords that can be guessed.
pub(crate) fn generate(bits: usize) -> Result<String, getrandom::Error> {
    let digits = bits.div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes)?;
    let mut text = hexadecimal(&bytes);
    text.truncate(digits);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_sha256_in_small_hexadecimal_digits() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc").text(), text);
        assert_eq!(Hash::parse(text.as_bytes()), Some(Hash::of(b"abc")));
        for wrong in ["", &text[1..], &text.to_uppercase(), &text.replace('b', "g"), &format!("{text}00")] {
            assert_eq!(Hash::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_password_is_found_among_several() {
        let known = [b"one", b"two"].map(|password| Hash::of(password));
        assert!(Hash::of(b"one").is_among(&known) && Hash::of(b"two").is_among(&known));
        assert!(!Hash::of(b"on").is_among(&known) && !Hash::of(b"one").is_among(&[]));
    }

    #[test]
    fn generated_passwords_have_the_digits_asked_for() {
        for (bits, digits) in [(1, 1), (4, 1), (5, 2), (9, 3), (256, 64), (4096, 1024)] {
            assert_eq!(generate(bits).unwrap().len(), digits, "{bits}");
        }
        assert_ne!(generate(256).unwrap(), generate(256).unwrap());
    }
}
