//! Operations that replace each of the 256 grey levels by another one, as PIL's `ImageOps` do.

use crate::views::planes::Planes;

/// What becomes of each level.
type Table = [u8; 256];

/// Stretches the levels of each channel to the whole range. One level alone stays.
pub(super) fn auto_contrast(planes: &mut Planes<'_>) {
    by_histogram(planes, |counts| {
        let least = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let largest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if largest <= least {
            return table(|level| level);
        }
        let scale = 255.0 / (largest - least) as f64;
        let offset = -(least as f64) * scale;
        // A conversion cuts off at 0 and 255 and drops the fraction, as PIL does.
        table(|level| (f64::from(level) * scale + offset) as u8)
    });
}

/// Spreads the levels of each channel so that all are equally frequent, as far as levels can be kept together.
///
/// Of p pixels below the largest level, a 255th makes a step: a level with n pixels below it becomes (n + step / 2) /
/// step, in whole numbers. With less than a pixel a step nothing changes, as with one level alone.
pub(super) fn equalize(planes: &mut Planes<'_>) {
    by_histogram(planes, |counts| {
        let all: u32 = counts.iter().sum();
        let of_largest = counts.iter().rev().find(|count| **count > 0).copied().unwrap_or(0);
        let step = (all - of_largest) / 255;
        if step == 0 {
            return table(|level| level);
        }
        let mut below = step / 2;
        table(|level| {
            let new = (below / step).min(255) as u8;
            below += counts[usize::from(level)];
            new
        })
    });
}

/// White becomes black.
pub(super) fn invert(planes: &mut Planes<'_>) {
    replace(planes, |level| 255 - level);
}

/// Keeps the highest bits of a level, 1 to 8.
pub(super) fn posterize(planes: &mut Planes<'_>, bits: u32) {
    replace(planes, |level| level & (255u8 << (8 - bits)));
}

/// Inverts the levels from a threshold on, 0 to 256.
pub(super) fn solarize(planes: &mut Planes<'_>, threshold: u32) {
    replace(planes, |level| if u32::from(level) < threshold { level } else { 255 - level });
}

/// Adds to the levels of the darker half.
pub(super) fn solarize_add(planes: &mut Planes<'_>, added: u8) {
    replace(planes, |level| if level < 128 { level.saturating_add(added) } else { level });
}

/// Calls `new` for each level from 0 on.
fn table(mut new: impl FnMut(u8) -> u8) -> Table {
    let mut level = 0;
    [0; 256].map(|_: u8| {
        let entry = new(level);
        level = level.wrapping_add(1);
        entry
    })
}

fn replace(planes: &mut Planes<'_>, new: impl FnMut(u8) -> u8) {
    let table = table(new);
    planes.each().into_iter().for_each(|plane| look_up(plane, &table));
}

/// counts: how many pixels of a channel have each level.
fn by_histogram(planes: &mut Planes<'_>, table_of: impl Fn(&[u32; 256]) -> Table) {
    for plane in planes.each() {
        let mut counts = [0; 256];
        plane.iter().for_each(|x| counts[usize::from(nearest(*x))] += 1);
        look_up(plane, &table_of(&counts));
    }
}

fn look_up(plane: &mut [f32], table: &Table) {
    plane.iter_mut().for_each(|x| *x = f32::from(table[usize::from(nearest(*x))]));
}

/// The whole level that a value is next to.
fn nearest(x: f32) -> u8 {
    (x + 0.5) as u8
}
