//! The working form of a view: three planes of floats, which are the view's place in its batch.

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
