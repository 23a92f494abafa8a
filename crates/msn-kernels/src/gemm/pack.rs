//! Packing: operands copied into panels in the order in which the innermost loops read them.
//!
//! A panel of B holds [`Simd::NR`] columns, word by word of the inner dimension; the last panel is one
//! vector wide if that is enough. A panel of A holds [`Simd::MR`] rows in one of the [`Layout`]s.
//!
//! [`Layout`]: super::kernel::Layout

use super::kernel::{KC, ROW_STRIDE};
use super::product::Product;
use crate::element::{Element, SharedMut};
use crate::scratch::Scratch;
use crate::simd::Simd;

/// The width of panel `j` of `n` columns: one vector or two.
#[inline(always)]
pub(crate) fn panel_width<S: Simd>(n: usize, j: usize) -> usize {
    if n - j * S::NR > S::LANES { S::NR } else { S::LANES }
}

/// Words that the panels of an operand with `n` columns and `words` words of inner dimension take.
pub(crate) fn panels_len<S: Simd>(n: usize, words: usize) -> usize {
    n.next_multiple_of(S::LANES) * words
}

/// Packs `rows` rows of `k` elements, the first at `src[0]` and each `ld` after the one before, row-major.
#[inline(always)]
pub(crate) fn rows<S: Simd, P: Product, E: Element>(
    s: S,
    src: &[E],
    ld: usize,
    rows: usize,
    k: usize,
    dst: &mut [u32],
) {
    for i in 0..rows {
        P::pack_row(s, &src[i * ld..][..k], &mut dst[i * ROW_STRIDE..][..ROW_STRIDE]);
    }
}

/// `rows` rows of `k` elements, `ld` apart, as words, and the words from one to the next, if they are stored as they would
/// be packed.
pub(crate) fn rows_in_place<P: Product, E: Element>(
    src: &[E],
    ld: usize,
    [rows, k]: [usize; 2],
) -> Option<(&[u32], usize)> {
    let src = src.get(..(rows - 1) * ld + k)?;
    if ld.is_multiple_of(P::PER_WORD) { Some((P::words_of(src, k)?, ld / P::PER_WORD)) } else { None }
}

/// Packs panel `j` of an operand B that is stored transposed, `[n, k]` with rows `ld` apart, into `panel`
/// (`[words, width]`).
#[inline(always)]
pub(crate) fn transposed_panel<S: Simd, P: Product, E: Element>(
    s: S,
    src: &[E],
    ld: usize,
    [n, k]: [usize; 2],
    j: usize,
    panel: &mut [u32],
) {
    let width = panel_width::<S>(n, j);
    let words = k / P::PER_WORD;
    if words.is_multiple_of(S::LANES)
        && let Some((src, ld)) = rows_in_place::<P, E>(src, ld, [n.next_multiple_of(S::LANES), k])
    {
        return transposed_in_place(s, src, ld, words, j * S::NR, width, panel);
    }
    let mut row_major = Scratch::new(S::LANES * ROW_STRIDE);
    let row_major = row_major.words();
    for first in (0..width).step_by(S::LANES) {
        let column = j * S::NR + first;
        let count = S::LANES.min(n - column);
        for k0 in (0..k).step_by(KC * P::PER_WORD) {
            let depth = (KC * P::PER_WORD).min(k - k0);
            rows::<S, P, E>(s, &src[column * ld + k0..], ld, count, depth, row_major);
            let words = depth.div_ceil(P::PER_WORD);
            for word in (0..words).step_by(S::LANES) {
                let dst = &mut panel[(k0 / P::PER_WORD + word) * width + first..];
                s.transpose(&row_major[word..], ROW_STRIDE, dst, width, S::LANES.min(words - word));
            }
        }
    }
}

/// [`transposed_panel`] of rows that are stored as they would be packed. Rows after the last one fill up its vector.
#[inline(always)]
fn transposed_in_place<S: Simd>(
    s: S,
    src: &[u32],
    ld: usize,
    words: usize,
    first_column: usize,
    width: usize,
    panel: &mut [u32],
) {
    for first in (0..width).step_by(S::LANES) {
        for word in (0..words).step_by(S::LANES) {
            let src = &src[(first_column + first) * ld + word..];
            s.transpose(src, ld, &mut panel[word * width + first..], width, S::LANES);
        }
    }
}

/// Where rows that are contiguous in the columns go: panels of `width` columns, each `words` words of
/// inner dimension long.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    /// Columns of the operand.
    pub(crate) n: usize,
    /// Columns of a panel.
    pub(crate) width: usize,
    /// Words of inner dimension in a panel.
    pub(crate) words: usize,
}

/// Rows of an operand that are contiguous in its columns; they are the inner dimension.
#[derive(Clone, Copy)]
pub(crate) struct InnerRows<'a, E> {
    /// The first row starts at its start.
    pub(crate) src: &'a [E],
    /// Elements from a row to the next.
    pub(crate) ld: usize,
    /// The number of rows.
    pub(crate) count: usize,
    /// Multiplies each row first.
    pub(crate) scale: Option<&'a [f32]>,
}

/// Rows that are packed panel by panel before the next are: reading few rows at a time keeps to few memory pages.
const GROUP: usize = 16;

/// Packs rows of `panels.n` columns into all panels, from word `first_word` of the inner dimension on.
///
/// # Safety
/// While this runs, nothing else uses these words of `dst`.
#[inline(always)]
pub(crate) unsafe fn columns<S: Simd, P: Product, E: Element>(
    s: S,
    rows: InnerRows<'_, E>,
    panels: Panels,
    dst: &SharedMut<'_, u32>,
    first_word: usize,
) {
    let Panels { n, width, words } = panels;
    let InnerRows { src, ld, count, scale } = rows;
    for group in (0..count).step_by(GROUP) {
        let group_end = count.min(group + GROUP);
        let whole_words = (group_end - group) / P::PER_WORD;
        for column in (0..n).step_by(width) {
            // The last panel of B may be one vector wide; those of A keep their width.
            let room = if width == S::NR { panel_width::<S>(n, column / width) } else { width };
            let filled = room.min(n - column);
            let mut row = group;
            if scale.is_none() && filled == width {
                let first_word = first_word + group / P::PER_WORD;
                // SAFETY: these are words from `first_word` on, which the caller lends to this call, and
                // this is the only part in use here.
                let dst = unsafe { dst.part(column * words + first_word * width, whole_words * width) };
                let src = Upcoming { src: &src[group * ld + column..], ld, ahead: ahead::<E>(column, n, ld) };
                whole_panel::<S, P, E>(s, src, width, dst);
                row += whole_words * P::PER_WORD;
            }
            for row in (row..group_end).step_by(P::PER_WORD) {
                let word = first_word + row / P::PER_WORD;
                // SAFETY: as above.
                let dst = unsafe { dst.part(column * words + word * room, room) };
                let even = &src[row * ld + column..][..filled];
                let has_odd = P::PER_WORD == 2 && row + 1 < group_end;
                let odd = if has_odd { &src[(row + 1) * ld + column..][..filled] } else { &[] };
                let scale = scale.map(|scale| [scale[row], if has_odd { scale[row + 1] } else { 0.0 }]);
                for (v, dst) in dst.chunks_mut(S::LANES).enumerate() {
                    let from = filled.min(v * S::LANES);
                    let odd = odd.get(from..).unwrap_or(&[]);
                    P::pack_columns(s, &even[from..], odd, scale, dst);
                }
            }
        }
    }
}

/// How many elements after one of the panel at `column` stands the one that is packed a few panels later. The processor does
/// not see where this goes, since the rows are many, and each panel takes little of one.
fn ahead<E>(column: usize, n: usize, ld: usize) -> usize {
    const BYTES: usize = 256;
    let later = column + BYTES / size_of::<E>();
    later / n * GROUP * ld + later % n - column
}

/// What a panel packs, and what is to be asked for meanwhile.
#[derive(Clone, Copy)]
struct Upcoming<'a, E> {
    /// From the first element on.
    src: &'a [E],
    /// Elements from a row to the next.
    ld: usize,
    /// Elements from what is packed to what is asked for.
    ahead: usize,
}

/// Packs as many words of `width` columns, all filled, as `dst` has room for.
#[inline(always)]
fn whole_panel<S: Simd, P: Product, E: Element>(s: S, src: Upcoming<'_, E>, width: usize, dst: &mut [u32]) {
    // With widths that the compiler knows, no mask is computed and few bounds are checked: these are nearly all
    // panels, and packing took a tenth of the time of a small encoder's step.
    match width {
        32 => panel_of::<S, P, E, 32>(s, src, dst),
        16 => panel_of::<S, P, E, 16>(s, src, dst),
        12 => panel_of::<S, P, E, 12>(s, src, dst),
        8 => panel_of::<S, P, E, 8>(s, src, dst),
        6 => panel_of::<S, P, E, 6>(s, src, dst),
        4 => panel_of::<S, P, E, 4>(s, src, dst),
        _ => unreachable!("no panel is {width} wide"),
    }
}

#[inline(always)]
fn panel_of<S: Simd, P: Product, E: Element, const WIDTH: usize>(
    s: S,
    Upcoming { src, ld, ahead }: Upcoming<'_, E>,
    dst: &mut [u32],
) {
    for (word, dst) in dst.chunks_exact_mut(WIDTH).enumerate() {
        let row = word * P::PER_WORD * ld;
        let even = &src[row..][..WIDTH];
        let odd = if P::PER_WORD == 2 { &src[row + ld..][..WIDTH] } else { &[] };
        for row in [even, odd] {
            if !row.is_empty() {
                s.prefetch(row.as_ptr().wrapping_add(ahead));
            }
        }
        for at in (0..WIDTH).step_by(S::LANES) {
            let end = WIDTH.min(at + S::LANES);
            let odd = if P::PER_WORD == 2 { &odd[at..end] } else { &[] };
            P::pack_columns(s, &even[at..end], odd, None, &mut dst[at..end]);
        }
    }
}
