//! The operations that RandAugment chooses from.

use super::affine::Affine;
use super::{levels, sharpness};
use crate::views::color::Adjustment;
use crate::views::planes::Planes;
use crate::views::steps::Steps;

/// Something that is done to a whole image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operation {
    /// The levels of each channel stretched to the whole range.
    AutoContrast,
    /// The levels of each channel made equally frequent.
    Equalize,
    /// White becomes black.
    Invert,
    /// Degrees, counterclockwise.
    Rotate(f64),
    /// Bits of a level that are kept, 1 to 8.
    Posterize(u32),
    /// Level from which on levels are inverted, 0 to 256.
    Solarize(u32),
    /// What is added to the levels of the darker half.
    SolarizeAdd(u8),
    /// Factor of the distance to the pixel's grey: saturation.
    Color(f32),
    /// Factor of the distance to the mean grey.
    Contrast(f32),
    /// Factor of the distance to black.
    Brightness(f32),
    /// Factor of the distance to the mean of the neighbours.
    Sharpness(f32),
    /// Columns by which a row lies further left than the one above.
    ShearX(f64),
    /// Rows by which a column lies further up than the one left of it.
    ShearY(f64),
    /// Shift to the left as a fraction of the width.
    TranslateX(f64),
    /// Shift up as a fraction of the height.
    TranslateY(f64),
}

/// From a magnitude, [0, 1], and a sign, 1 or -1, to an operation.
type Drawn = fn(f64, f64) -> Operation;

/// All operations with their strengths, those of `rand-m9-mstd0.5-inc1` in timm: a larger magnitude changes more.
pub(super) const OPERATIONS: [Drawn; 15] = [
    |_, _| Operation::AutoContrast,
    |_, _| Operation::Equalize,
    |_, _| Operation::Invert,
    |magnitude, sign| Operation::Rotate(30.0 * magnitude * sign),
    // 4 bits down to 1, where timm goes on to 0, which older versions of PIL make black and newer ones refuse.
    |magnitude, _| Operation::Posterize(4 - ((4.0 * magnitude) as u32).min(3)),
    |magnitude, _| Operation::Solarize(256 - (256.0 * magnitude) as u32),
    |magnitude, _| Operation::SolarizeAdd((110.0 * magnitude) as u8),
    |magnitude, sign| Operation::Color(factor(magnitude, sign)),
    |magnitude, sign| Operation::Contrast(factor(magnitude, sign)),
    |magnitude, sign| Operation::Brightness(factor(magnitude, sign)),
    |magnitude, sign| Operation::Sharpness(factor(magnitude, sign)),
    |magnitude, sign| Operation::ShearX(0.3 * magnitude * sign),
    |magnitude, sign| Operation::ShearY(0.3 * magnitude * sign),
    |magnitude, sign| Operation::TranslateX(0.45 * magnitude * sign),
    |magnitude, sign| Operation::TranslateY(0.45 * magnitude * sign),
];

/// 0.1 to 1.9, 1 at magnitude 0.
fn factor(magnitude: f64, sign: f64) -> f32 {
    (1.0 + 0.9 * magnitude * sign) as f32
}

impl Operation {
    /// Changes an image of `width` columns. fill: what comes in from outside, a level for each channel. spare: working
    /// space.
    pub(super) fn apply(self, planes: &mut Planes<'_>, width: usize, fill: [f32; 3], spare: &mut Vec<f32>) {
        let height = planes.red.len() / width;
        let affine = match self {
            Self::AutoContrast => return levels::auto_contrast(planes),
            Self::Equalize => return levels::equalize(planes),
            Self::Invert => return levels::invert(planes),
            Self::Posterize(bits) => return levels::posterize(planes, bits),
            Self::Solarize(threshold) => return levels::solarize(planes, threshold),
            Self::SolarizeAdd(added) => return levels::solarize_add(planes, added),
            Self::Color(factor) => return adjust(planes, Adjustment::Saturation(factor)),
            Self::Contrast(factor) => return adjust(planes, Adjustment::Contrast(factor)),
            Self::Brightness(factor) => return adjust(planes, Adjustment::Brightness(factor)),
            Self::Sharpness(factor) => return sharpness::sharpness(planes, width, factor, spare),
            Self::Rotate(degrees) => Affine::rotation(degrees, width, height),
            Self::ShearX(factor) => Affine::shear_x(factor),
            Self::ShearY(factor) => Affine::shear_y(factor),
            Self::TranslateX(fraction) => Affine::translation(fraction * width as f64, 0.0),
            Self::TranslateY(fraction) => Affine::translation(0.0, fraction * height as f64),
        };
        affine.apply(planes, width, fill, spare);
    }
}

fn adjust(planes: &mut Planes<'_>, adjustment: Adjustment) {
    let mut steps = Steps::none();
    steps.adjust(planes, adjustment);
    steps.run(planes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_at_magnitude_nine_are_those_of_timm() {
        let drawn = |sign| OPERATIONS.map(|operation| operation(0.9, sign));
        let rounded = |operation| match operation {
            Operation::Rotate(x) => Operation::Rotate((x * 1e6).round() / 1e6),
            Operation::ShearX(x) => Operation::ShearX((x * 1e6).round() / 1e6),
            Operation::ShearY(x) => Operation::ShearY((x * 1e6).round() / 1e6),
            other => other,
        };
        use Operation::*;
        #[rustfmt::skip]
        assert_eq!(drawn(1.0).map(rounded), [
            AutoContrast, Equalize, Invert, Rotate(27.0), Posterize(1), Solarize(26), SolarizeAdd(99), Color(1.81),
            Contrast(1.81), Brightness(1.81), Sharpness(1.81), ShearX(0.27), ShearY(0.27), TranslateX(0.405),
            TranslateY(0.405),
        ]);
        #[rustfmt::skip]
        assert_eq!(drawn(-1.0).map(rounded), [
            AutoContrast, Equalize, Invert, Rotate(-27.0), Posterize(1), Solarize(26), SolarizeAdd(99), Color(0.19),
            Contrast(0.19), Brightness(0.19), Sharpness(0.19), ShearX(-0.27), ShearY(-0.27), TranslateX(-0.405),
            TranslateY(-0.405),
        ]);
    }

    #[test]
    fn operations_with_a_strength_change_nothing_at_magnitude_zero() {
        let picture: Vec<f32> = (0..3 * 13 * 11).map(|i| (i * 89 % 256) as f32).collect();
        for operation in OPERATIONS.map(|operation| operation(0.0, 1.0)) {
            let mut changed = picture.clone();
            operation.apply(&mut Planes::of(&mut changed), 13, [99.0; 3], &mut Vec::new());
            let has_no_zero = matches!(
                operation,
                Operation::AutoContrast | Operation::Equalize | Operation::Invert | Operation::Posterize(4)
            );
            assert!(has_no_zero || changed == picture, "{operation:?}");
        }
    }

    #[test]
    fn every_operation_takes_images_of_any_size() {
        for (width, height) in [(1, 1), (1, 7), (9, 2), (3, 3)] {
            let picture: Vec<f32> = (0..3 * width * height).map(|i| (i * 89 % 256) as f32).collect();
            for operation in OPERATIONS.iter().flat_map(|op| [op(1.0, 1.0), op(1.0, -1.0), op(0.3, 1.0)]) {
                let mut changed = picture.clone();
                operation.apply(&mut Planes::of(&mut changed), width, [99.0; 3], &mut Vec::new());
                let levels = changed.iter().all(|x| (0.0..=255.0).contains(x));
                assert!(levels, "{operation:?} of {width} x {height}: {changed:?}");
            }
        }
    }

    #[test]
    fn an_even_image_has_no_contrast_to_stretch() {
        for operation in [Operation::AutoContrast, Operation::Equalize] {
            let mut even = [77.0; 3 * 4 * 4];
            operation.apply(&mut Planes::of(&mut even), 4, [0.0; 3], &mut Vec::new());
            assert_eq!(even, [77.0; 48], "{operation:?}");
        }
    }
}
