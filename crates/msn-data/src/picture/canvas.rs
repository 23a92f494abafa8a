//! Images, rectangles and text on a white ground.

use std::convert::Infallible;

use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::iso_8859_1::FONT_7X13;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};

use crate::Image;

/// A colour: red, green, blue.
pub(super) type Colour = embedded_graphics::pixelcolor::Rgb888;

/// Height of a line of text with the space below it, pixels.
pub(super) const LINE: usize = 16;

const FONT: embedded_graphics::mono_font::MonoFont<'_> = FONT_7X13;

/// An image that is drawn on. What lies outside is left out.
pub(super) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white canvas of that many pixels.
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![255; 3 * width * height] }
    }

    /// Draws an image with its top left corner at (`x`, `y`).
    pub(super) fn image(&mut self, x: usize, y: usize, image: &Image) {
        let columns = (image.width() as usize).min(self.width.saturating_sub(x));
        let rows = image.pixels().chunks_exact(3 * image.width() as usize);
        for (row, pixels) in rows.take(self.height.saturating_sub(y)).enumerate() {
            let start = 3 * ((y + row) * self.width + x);
            self.pixels[start..start + 3 * columns].copy_from_slice(&pixels[..3 * columns]);
        }
    }

    /// Fills a rectangle.
    pub(super) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        let Ok(()) = area(x, y, width, height).into_styled(PrimitiveStyle::with_fill(colour)).draw(self);
    }

    /// Draws the edge of a rectangle, `thickness` pixels wide, within it.
    pub(super) fn frame(&mut self, [x, y, width, height]: [usize; 4], thickness: usize, colour: Colour) {
        for inset in 0..thickness.min(width.div_ceil(2)).min(height.div_ceil(2)) {
            let edge = area(x + inset, y + inset, width - 2 * inset, height - 2 * inset);
            let Ok(()) = edge.into_styled(PrimitiveStyle::with_stroke(colour, 1)).draw(self);
        }
    }

    /// Writes a line of text of at most `width` pixels with its top left corner at (`x`, `y`); what is longer loses its
    /// end.
    pub(super) fn text(&mut self, x: usize, y: usize, width: usize, text: &str) {
        let text = shortened(text, width / advance());
        let style = MonoTextStyle::new(&FONT, Colour::new(0, 0, 0));
        let Ok(_) =
            Text::with_baseline(&text, Point::new(x as i32, y as i32), style, Baseline::Top).draw(self);
    }

    pub(super) fn into_image(self) -> Image {
        Image::new(self.width as u32, self.height as u32, self.pixels)
    }
}

/// Columns of a character.
fn advance() -> usize {
    (FONT.character_size.width + FONT.character_spacing) as usize
}

/// Columns that a text takes.
pub(super) fn text_width(text: &str) -> usize {
    text.chars().count() * advance()
}

fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(2)).collect();
    format!("{kept}..")
}

fn area(x: usize, y: usize, width: usize, height: usize) -> Rectangle {
    Rectangle::new(Point::new(x as i32, y as i32), Size::new(width as u32, height as u32))
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Colour;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Colour>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, colour) in pixels {
            let place = usize::try_from(x).ok().zip(usize::try_from(y).ok());
            if let Some((x, y)) = place.filter(|&(x, y)| x < self.width && y < self.height) {
                let start = 3 * (y * self.width + x);
                self.pixels[start..start + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_canvas_is_cut_off() {
        let mut canvas = Canvas::new(4, 3);
        canvas.image(3, 2, &Image::new(2, 2, vec![9; 12]));
        canvas.fill(2, 0, 9, 1, Colour::new(1, 2, 3));
        canvas.text(90, 90, 100, "outside");
        let image = canvas.into_image();
        let pixel = |x: usize, y: usize| &image.pixels()[3 * (4 * y + x)..][..3];
        assert_eq!(
            (pixel(3, 2), pixel(2, 2), pixel(3, 0), pixel(1, 0)),
            (&[9; 3][..], &[255; 3][..], &[1, 2, 3][..], &[255; 3][..])
        );
    }

    #[test]
    fn frames_leave_their_inside_alone() {
        let mut canvas = Canvas::new(5, 5);
        canvas.frame([0, 0, 5, 5], 2, Colour::new(0, 0, 0));
        let white = canvas.pixels.as_chunks::<3>().0.iter().filter(|pixel| **pixel == [255; 3]).count();
        assert_eq!(white, 1);
    }

    #[test]
    fn long_texts_lose_their_end() {
        assert_eq!(shortened("golden retriever", 8), "golden..");
        assert_eq!(shortened("cat", 3), "cat");
    }
}
