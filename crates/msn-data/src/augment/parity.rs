//! Every operation against what Pillow makes of the same picture: `tests/fixtures/make_augment.py`.

use super::operation::Operation;
use crate::views::planes::{Planes, unpack};
use crate::{Limits, decode};

const PICTURES: &[u8] = include_bytes!("../../tests/fixtures/rand-augment.png");
const CASES: &str = include_str!("../../tests/fixtures/rand-augment.json");
const WIDTH: usize = 29;
const HEIGHT: usize = 23;

/// The operation by the name that the reference values use, and the largest difference in grey levels.
///
/// Pillow drops fractions (1 level) where this crate keeps them. Before that it rounds what colours are moved away
/// from: half a level of it, times 0.81, with the factors that occur; for contrast a mean of rounded greys, which may
/// be another whole level.
fn operation(name: &str, strength: f64) -> (Operation, f32) {
    let factor = strength as f32;
    match name {
        "auto-contrast" => (Operation::AutoContrast, 0.0),
        "equalize" => (Operation::Equalize, 0.0),
        "invert" => (Operation::Invert, 0.0),
        "posterize" => (Operation::Posterize(strength as u32), 0.0),
        "solarize" => (Operation::Solarize(strength as u32), 0.0),
        "solarize-add" => (Operation::SolarizeAdd(strength as u8), 0.0),
        "rotate" => (Operation::Rotate(strength), 1.001),
        "shear-x" => (Operation::ShearX(strength), 1.001),
        "shear-y" => (Operation::ShearY(strength), 1.001),
        "translate-x" => (Operation::TranslateX(strength), 1.001),
        "translate-y" => (Operation::TranslateY(strength), 1.001),
        "brightness" => (Operation::Brightness(factor), 1.001),
        "color" => (Operation::Color(factor), 1.41),
        "sharpness" => (Operation::Sharpness(factor), 1.41),
        "contrast" => (Operation::Contrast(factor), 1.81),
        other => panic!("the reference values have an operation `{other}` that no test knows"),
    }
}

#[test]
fn every_operation_gives_the_picture_that_pillow_gives() {
    let pictures = decode(PICTURES, &Limits::default()).expect("a fixture");
    let cases: Vec<(String, f64)> = serde_json::from_str(CASES).expect("a fixture");
    let mut each = pictures.pixels().chunks_exact(3 * WIDTH * HEIGHT);
    let source = each.next().expect("the picture itself");
    assert_eq!(each.len(), cases.len());
    for ((name, strength), expected) in cases.iter().zip(each) {
        let (operation, bound) = operation(name, *strength);
        let mut found = vec![0.0; source.len()];
        let mut planes = Planes::of(&mut found);
        unpack(source, &mut planes);
        operation.apply(&mut planes, WIDTH, [124.0, 116.0, 104.0], &mut Vec::new());
        let mut wanted = vec![0.0; source.len()];
        unpack(expected, &mut Planes::of(&mut wanted));
        let worst = found.iter().zip(&wanted).map(|(f, w)| (f - w).abs()).fold(0.0, f32::max);
        println!("{operation:?}: {worst}");
        assert!(worst <= bound, "{operation:?} is up to {worst} levels off, expected at most {bound}");
    }
}
