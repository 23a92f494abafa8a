//! What the network sees of an image: figure 3 of the MSN paper, with the settings of a run.

use super::canvas::{Canvas, Colour, LINE, text_width};
use super::fit::{enlarged, fit};
use crate::loader::Worker;
use crate::{BatchViews, Dataset, Image, LoaderConfig, Normalization, Skipped, ViewBatch, ViewKind};

/// Views smaller than this are enlarged by a whole number, pixels.
const LEGIBLE: usize = 160;
/// Space around panels, pixels.
const GAP: usize = 12;
/// Space between focal views and width of the frames, pixels.
const FRAME: usize = 2;
const DROPPED: Colour = Colour::new(190, 190, 190);

/// Colour of the frames of the views of a kind, around the views and where they were cut from.
fn colour(kind: ViewKind) -> Colour {
    match kind {
        ViewKind::Target => Colour::new(0, 114, 178),
        ViewKind::Random => Colour::new(213, 94, 0),
        ViewKind::Focal => Colour::new(0, 158, 115),
    }
}

/// One panel of a row, with two lines of text above it.
struct Panel {
    captions: [String; 2],
    picture: Image,
}

/// A row for each image of `views`, which [`preview`](crate::preview) made of `dataset` with `config` in `epoch`: the
/// image with the places that its views were cut from, the target view, the large anchors with the patches that are
/// dropped in grey, and the focal views. Pixels are those that the network gets.
///
/// # Errors
/// If an image can no longer be read.
pub fn picture_of_views(
    dataset: &dyn Dataset,
    config: &LoaderConfig,
    epoch: u64,
    views: &BatchViews,
) -> Result<Image, Skipped> {
    let rows =
        views.images.iter().enumerate().map(|(place, &index)| -> Result<(&str, Vec<Panel>), Skipped> {
            let mut panels = vec![source(dataset, config, epoch, index)?];
            panels.push(target(config, views.target.of(place).0, views.target.size));
            panels.extend(views.random.iter().map(|view| random(config, view, place)));
            if !views.focal.is_empty() {
                panels.push(focal(config, &views.focal, place));
            }
            Ok((dataset.name(index), panels))
        });
    Ok(drawn(&rows.collect::<Result<Vec<_>, Skipped>>()?))
}

/// Pixels that a pixel of a view becomes.
fn factor(config: &LoaderConfig) -> usize {
    (LEGIBLE / config.views.random_size).max(1)
}

/// The image, with the boxes of its views.
fn source(dataset: &dyn Dataset, config: &LoaderConfig, epoch: u64, index: usize) -> Result<Panel, Skipped> {
    Worker::with_image(dataset, index, &config.limits, |image, _| {
        let small = fit(image, config.views.random_size * factor(config));
        let mut canvas = Canvas::new(small.width() as usize, small.height() as usize);
        canvas.image(0, 0, &small);
        let scaled = |length: u32, small: u32, whole: u32| {
            (f64::from(length) * f64::from(small) / f64::from(whole)).round() as usize
        };
        // The few large boxes last, so that they stay whole.
        for view in (0..config.views.count()).rev() {
            let crop = config.draw(epoch, index, view, image).crop;
            let x = |length| scaled(length, small.width(), image.width());
            let y = |length| scaled(length, small.height(), image.height());
            let edges = [x(crop.left), y(crop.top), x(crop.width).max(1), y(crop.height).max(1)];
            let kind = config.views.kind(view);
            canvas.frame(edges, if kind == ViewKind::Focal { 1 } else { FRAME }, colour(kind));
        }
        let captions =
            ["image, places of views".to_owned(), format!("{} x {} px", image.width(), image.height())];
        Panel { captions, picture: canvas.into_image() }
    })
}

fn target(config: &LoaderConfig, pixels: &[f32], size: usize) -> Panel {
    let view = enlarged(&shown(pixels, size, &config.normalization), factor(config));
    Panel {
        captions: ["target view".to_owned(), format!("{size} px")],
        picture: framed(&view, ViewKind::Target),
    }
}

fn random(config: &LoaderConfig, view: &ViewBatch, place: usize) -> Panel {
    let (pixels, keep) = view.of(place);
    let factor = factor(config);
    let mut canvas = Canvas::new(view.size * factor, view.size * factor);
    canvas.image(0, 0, &enlarged(&shown(pixels, view.size, &config.normalization), factor));
    let grid = view.size / config.patch_size;
    let dropped = |patch: &usize| keep.is_some_and(|keep| keep.binary_search(&(*patch as u32)).is_err());
    let dropped: Vec<usize> = (0..grid * grid).filter(dropped).collect();
    let side = config.patch_size * factor;
    for patch in &dropped {
        canvas.fill(patch % grid * side, patch / grid * side, side, side, DROPPED);
    }
    let captions = ["random anchor view".to_owned(), format!("{} of {} dropped", dropped.len(), grid * grid)];
    Panel { captions, picture: framed(&canvas.into_image(), ViewKind::Random) }
}

/// All focal views, in as many rows as fit beside the large views.
fn focal(config: &LoaderConfig, views: &[ViewBatch], place: usize) -> Panel {
    let factor = factor(config);
    let size = views[0].size;
    let step = size * factor + 3 * FRAME;
    let available = config.views.random_size * factor + 3 * FRAME;
    let rows = (available / step).clamp(1, views.len());
    let columns = views.len().div_ceil(rows);
    let mut canvas = Canvas::new(columns * step - FRAME, rows * step - FRAME);
    for (number, view) in views.iter().enumerate() {
        let picture = enlarged(&shown(view.of(place).0, size, &config.normalization), factor);
        canvas.image(number % columns * step, number / columns * step, &framed(&picture, ViewKind::Focal));
    }
    let captions = ["focal anchor views".to_owned(), format!("{} of {size} px", views.len())];
    Panel { captions, picture: canvas.into_image() }
}

/// A normalised view, `[3, size, size]`, as an image.
fn shown(pixels: &[f32], size: usize, normalization: &Normalization) -> Image {
    let plane = size * size;
    let pixel =
        |at: usize| [0, 1, 2].map(|channel| normalization.level(channel, pixels[channel * plane + at]));
    Image::new(size as u32, size as u32, (0..plane).flat_map(pixel).collect())
}

fn framed(picture: &Image, kind: ViewKind) -> Image {
    let (width, height) = (picture.width() as usize + 2 * FRAME, picture.height() as usize + 2 * FRAME);
    let mut canvas = Canvas::new(width, height);
    canvas.image(FRAME, FRAME, picture);
    canvas.frame([0, 0, width, height], FRAME, colour(kind));
    canvas.into_image()
}

/// The rows below each other, panels in columns.
fn drawn(rows: &[(&str, Vec<Panel>)]) -> Image {
    let columns = rows.iter().map(|(_, panels)| panels.len()).max().unwrap_or(0);
    let width_of = |panel: &Panel| {
        let captions = panel.captions.iter().map(|caption| text_width(caption)).max();
        captions.unwrap_or(0).max(panel.picture.width() as usize)
    };
    let width = |column: usize| rows.iter().map(|(_, panels)| width_of(&panels[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let height =
        |panels: &[Panel]| panels.iter().map(|panel| panel.picture.height()).max().unwrap_or(0) as usize;
    let row_height = |panels: &[Panel]| 3 * LINE + height(panels) + GAP;
    let total_width = GAP + widths.iter().map(|width| width + GAP).sum::<usize>();
    let total_height = GAP + rows.iter().map(|(_, panels)| row_height(panels)).sum::<usize>();
    let mut canvas = Canvas::new(total_width, total_height);
    let mut y = GAP;
    for (name, panels) in rows {
        canvas.text(GAP, y, total_width - 2 * GAP, name);
        let mut x = GAP;
        for (panel, width) in panels.iter().zip(&widths) {
            for (line, caption) in panel.captions.iter().enumerate() {
                canvas.text(x, y + (1 + line) * LINE, *width, caption);
            }
            canvas.image(x, y + 3 * LINE, &panel.picture);
            x += width + GAP;
        }
        y += row_height(panels);
    }
    canvas.into_image()
}
