//! The 16-bit brain floating-point number.

/// A bf16 number: the upper half of an `f32` (8 bits of exponent, 8 bits of precision).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bf16(pub u16);

impl Bf16 {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// Not a number.
    pub const NAN: Self = Self(0x7fc0);

    /// Rounds to the nearest bf16, ties to even. Overflow gives infinity; a NaN stays a NaN.
    #[inline]
    pub fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        if x.is_nan() {
            // Setting the quiet bit keeps a NaN whose payload lies in the lower half a NaN.
            return Self((bits >> 16) as u16 | 0x40);
        }
        Self((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
    }

    /// The same number as an `f32`; exact.
    #[inline]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

impl From<f32> for Bf16 {
    fn from(x: f32) -> Self {
        Self::from_f32(x)
    }
}

impl From<Bf16> for f32 {
    fn from(x: Bf16) -> Self {
        x.to_f32()
    }
}

/// Words as the pairs of bf16 that they hold, the lower half first.
#[inline(always)]
pub(crate) fn halves_mut(words: &mut [u32]) -> &mut [Bf16] {
    const { assert!(cfg!(target_endian = "little"), "the lower half of a word comes first in memory") };
    // SAFETY: a u32 has the size of two Bf16, which are transparent u16, and at least their alignment;
    // every pattern of 16 bits is a Bf16.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 2 * words.len()) }
}

/// Pairs of bf16 as the words that hold them, the first in the lower half; `None` if one is left over or the first does
/// not start at a word.
pub(crate) fn words(halves: &[Bf16]) -> Option<&[u32]> {
    const { assert!(cfg!(target_endian = "little"), "the lower half of a word comes first in memory") };
    let start = halves.as_ptr().cast::<u32>();
    let whole = halves.len().is_multiple_of(2) && start.is_aligned();
    // SAFETY: two Bf16, which are transparent u16, have the size of a u32, whose alignment was checked; every pattern of
    // 32 bits is a u32.
    whole.then(|| unsafe { std::slice::from_raw_parts(start, halves.len() / 2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_two_halves_the_first_in_the_lower_one() {
        let mut packed = [0; 2];
        for (half, value) in halves_mut(&mut packed).iter_mut().zip([1, 2, 3, 4]) {
            *half = Bf16(value);
        }
        assert_eq!(packed, [0x0002_0001, 0x0004_0003]);
        assert_eq!(words(halves_mut(&mut packed.clone())), Some(&packed[..]));
    }

    #[test]
    fn halves_that_are_not_whole_words_are_none() {
        let mut packed = [0; 3];
        let halves = &*halves_mut(&mut packed);
        assert_eq!(words(&halves[..5]), None, "one is left over");
        assert_eq!(words(&halves[1..5]), None, "starts inside a word");
        assert_eq!(words(&halves[2..4]), Some(&[0][..]));
    }
}
