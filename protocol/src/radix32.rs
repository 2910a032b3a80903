//! Fixed-width base-32 numbers whose text sorts like the numbers (the digits of RFC 4648 section 7, lower case).
//! Shorter than hexadecimal by a fifth: every head carries up to seven versions and DynamoDB bills bytes.

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Digits that hold 64 bits.
pub(crate) const WIDTH_64: usize = 13;
/// Digits that hold 128 bits.
pub(crate) const WIDTH_128: usize = 26;

/// The `width` low digits of `number`, most significant first.
pub(crate) fn encode(number: u128, width: usize) -> String {
    (0..width).rev().map(|place| char::from(DIGITS[digit(number, place)])).collect()
}

fn digit(number: u128, place: usize) -> usize {
    let shift = u32::try_from(place * 5).unwrap_or(u32::MAX);
    (number.checked_shr(shift).unwrap_or(0) & 31) as usize
}

/// The number that `text` writes, or `None` unless `text` is exactly what [`encode`] prints for it.
pub(crate) fn decode(text: &str, width: usize) -> Option<u128> {
    if text.len() != width {
        return None;
    }
    let number = text.bytes().try_fold(0_u128, |number, byte| {
        let digit = DIGITS.iter().position(|&d| d == byte)?;
        number.checked_mul(32)?.checked_add(digit as u128)
    })?;
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::{WIDTH_64, WIDTH_128, decode, encode};

    #[test]
    fn text_has_a_fixed_width_round_trips_and_sorts_like_the_number() {
        let numbers = [0, 1, 31, 32, u128::from(u64::MAX), u128::MAX / 3, u128::MAX - 1, u128::MAX];
        let texts: Vec<_> = numbers.iter().map(|&n| encode(n, WIDTH_128)).collect();
        assert!(texts.is_sorted());
        for (number, text) in numbers.into_iter().zip(&texts) {
            assert_eq!(text.len(), WIDTH_128);
            assert_eq!(decode(text, WIDTH_128), Some(number));
        }
        assert_eq!(decode(&encode(u128::from(u64::MAX), WIDTH_64), WIDTH_64), Some(u128::from(u64::MAX)));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "0", "0000000000000w", "000000000000W", "00000000000 0", "é00000000000"] {
            assert_eq!(decode(text, WIDTH_64), None, "{text:?}");
        }
        assert_eq!(decode(&"v".repeat(WIDTH_128), WIDTH_128), None, "more than 128 bits");
    }
}
