//! The working form of a view: three planes of floats, which are the view's place in its batch.

use crate::simd::vectorized;

/// One channel a plane, rows from top to bottom; values are grey levels, 0 to 255, not rounded.
#[derive(Debug)]
pub(crate) struct Planes<'a> {
    /// Red, `size * size` values.
    pub(crate) red: &'a mut [f32],
    /// Green, `size * size` values.
    pub(crate) green: &'a mut [f32],
    /// Blue, `size * size` values.
    pub(crate) blue: &'a mut [f32],
}

impl<'a> Planes<'a> {
    /// The planes of a view, `[3, size, size]`.
    ///
    /// # Panics
    /// If the number of values is not a multiple of three.
    pub(crate) fn of(view: &'a mut [f32]) -> Self {
        assert!(view.len().is_multiple_of(3), "{} values are no three planes", view.len());
        let (red, rest) = view.split_at_mut(view.len() / 3);
        let (green, blue) = rest.split_at_mut(red.len());
        Self { red, green, blue }
    }

    /// The three planes in order.
    pub(crate) fn each(&mut self) -> [&mut [f32]; 3] {
        [self.red, self.green, self.blue]
    }

    /// Parts of at most `length` pixels, small enough together to stay in the first-level cache while several steps
    /// work on them.
    #[inline(always)]
    pub(crate) fn chunks(&mut self, length: usize) -> impl Iterator<Item = Planes<'_>> {
        let chunks =
            self.red.chunks_mut(length).zip(self.green.chunks_mut(length)).zip(self.blue.chunks_mut(length));
        chunks.map(|((red, green), blue)| Planes { red, green, blue })
    }
}

vectorized! {
    /// Spreads interleaved 8-bit pixels over the planes.
    pub(crate) fn unpack(rgb: &[u8], planes: &mut Planes<'_>) {
        let Planes { red, green, blue } = planes;
        let pixels = rgb.as_chunks::<3>().0;
        for (((pixel, r), g), b) in pixels.iter().zip(red.iter_mut()).zip(green.iter_mut()).zip(blue.iter_mut()) {
            (*r, *g, *b) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
        }
    }
}
