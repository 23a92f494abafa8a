//! Accuracy over the number of labelled images, and its picture.

use std::collections::BTreeSet;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Amount, ShotScore};

/// Size of the picture, pixels.
const SIZE: (u32, u32) = (760, 480);
/// Colours that are told apart by people who see few (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
/// Labels of the horizontal axis, at most.
const MOST_TICKS: usize = 24;
const GREY: RGBColor = RGBColor(90, 90, 90);
/// Of the text of legend and axes, pixels.
const TEXT: u32 = 15;

/// How [`curve_picture`] begins, so that its files are told apart from other pictures.
pub const CURVE_PICTURE_START: &str = "<svg data-by=\"msn\" ";

/// Accuracy for some number of labelled images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Labelled images a class.
    pub images: usize,
    /// Mean top-1 accuracy over the splits, percent.
    pub mean: f64,
    /// Standard deviation over the splits, percent.
    pub sd: f64,
}

/// How accuracy grows with labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetCurve {
    /// What is evaluated.
    pub name: String,
    /// By ascending number of images.
    pub points: Vec<CurvePoint>,
}

impl BudgetCurve {
    /// The curve of some scores, in any order.
    pub fn of(name: &str, scores: &[ShotScore]) -> Self {
        let point = |score: &ShotScore| CurvePoint { images: score.shots, mean: score.mean, sd: score.sd };
        let mut points: Vec<CurvePoint> = scores.iter().map(point).collect();
        points.sort_by_key(|point| point.images);
        Self { name: name.to_owned(), points }
    }
}

/// Numbers of images to measure a curve at: 1, 2, 5, 10, 20, .. up to `smallest`, the images of the smallest class.
pub fn budgets(smallest: usize) -> Vec<Amount> {
    let decades = (0..).map_while(|exponent| 10usize.checked_pow(exponent));
    let steps = decades.flat_map(|decade| [1, 2, 5].map(|step| decade.checked_mul(step)));
    steps.map_while(|images| images.filter(|&images| images <= smallest)).map(Amount::Shots).collect()
}

/// An SVG picture of curves: images a class on a logarithmic axis, accuracy with one standard deviation to either side.
/// `chance` is drawn as a dashed line, percent.
///
/// # Panics
/// If there is no point.
pub fn curve_picture(curves: &[BudgetCurve], chance: f64) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area, curves, chance).expect("a picture in memory has no failures");
    drop(area);
    svg.replacen("<svg ", CURVE_PICTURE_START, 1)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(area: &Area<'a>, curves: &[BudgetCurve], chance: f64) -> Result<(), Failure<'a>> {
    area.fill(&WHITE)?;
    let (across, up) = ranges(curves, chance);
    let legend = legend_position(curves, &across, &up);
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(28)
        .x_label_area_size(48)
        .y_label_area_size(56)
        .build_cartesian_2d(across.clone().log_scale().with_key_points(ticks(curves)), up)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .axis_style(GREY)
        .x_labels(MOST_TICKS)
        .y_labels(8)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", TEXT).into_font().color(&GREY))
        .x_desc("labelled images a class")
        .y_desc("top-1 accuracy, %")
        .axis_desc_style(("sans-serif", TEXT + 1).into_font().color(&BLACK))
        .draw()?;
    let dashed =
        DashedLineSeries::new([(across.start, chance), (across.end, chance)], 5, 5, GREY.stroke_width(1));
    chart
        .draw_series(dashed)?
        .label("chance")
        .legend(|(x, y)| DashedPathElement::new([(x, y), (x + 20, y)], 5, 5, GREY.stroke_width(1)));
    for (number, curve) in curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let place = |point: &CurvePoint| (point.images as f64, point.mean);
        let line = LineSeries::new(curve.points.iter().map(place), colour.stroke_width(2));
        chart
            .draw_series(line)?
            .label(curve.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        chart.draw_series(curve.points.iter().map(|point| {
            let (x, y) = place(point);
            PathElement::new([(x, y - point.sd), (x, y + point.sd)], colour.stroke_width(1))
        }))?;
        chart.draw_series(curve.points.iter().map(|point| Circle::new(place(point), 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.85))
        .border_style(TRANSPARENT)
        .label_font(("sans-serif", TEXT).into_font().color(&BLACK))
        .draw()?;
    area.present()
}

/// The corner of the plot in which the legend covers least of the curves; of equal ones the first.
fn legend_position(curves: &[BudgetCurve], across: &Range<f64>, up: &Range<f64>) -> SeriesLabelPosition {
    /// Places on a line between two points, and on a deviation, that are looked at.
    const STEPS: usize = 16;
    // Parts of the plot that the legend takes, by what its text needs and a little more.
    let longest = curves.iter().map(|curve| curve.name.chars().count()).max().unwrap_or(0);
    let width = (50.0 + 8.0 * longest as f64) / f64::from(SIZE.0 - 100);
    let height = (20.0 + 20.0 * (curves.len() + 1) as f64) / f64::from(SIZE.1 - 80);
    let place = |images: f64, accuracy: f64| {
        let x = (images / across.start).ln() / (across.end / across.start).ln();
        [x, (accuracy - up.start) / (up.end - up.start)]
    };
    let between = |[from, to]: [[f64; 2]; 2]| {
        let at = move |step: usize| step as f64 / STEPS as f64;
        (0..=STEPS).map(move |step| [0, 1].map(|axis| from[axis] + at(step) * (to[axis] - from[axis])))
    };
    let mut drawn = Vec::new();
    for curve in curves {
        let places: Vec<[f64; 2]> =
            curve.points.iter().map(|point| place(point.images as f64, point.mean)).collect();
        drawn.extend(places.windows(2).flat_map(|pair| between([pair[0], pair[1]])));
        let deviation = |point: &CurvePoint| {
            [point.mean - point.sd, point.mean + point.sd]
                .map(|accuracy| place(point.images as f64, accuracy))
        };
        drawn.extend(curve.points.iter().flat_map(|point| between(deviation(point))));
    }
    let covered = |&(left, upper, _): &(bool, bool, SeriesLabelPosition)| {
        let covers = |&&[x, y]: &&[f64; 2]| {
            (if left { x } else { 1.0 - x }) < width && (if upper { 1.0 - y } else { y }) < height
        };
        drawn.iter().filter(covers).count()
    };
    let corners = [
        (true, true, SeriesLabelPosition::UpperLeft),
        (false, false, SeriesLabelPosition::LowerRight),
        (false, true, SeriesLabelPosition::UpperRight),
        (true, false, SeriesLabelPosition::LowerLeft),
    ];
    corners.into_iter().min_by_key(covered).expect("four corners").2
}

/// The numbers of images that are measured, ascending.
fn ticks(curves: &[BudgetCurve]) -> Vec<f64> {
    let images: BTreeSet<usize> =
        curves.iter().flat_map(|curve| &curve.points).map(|point| point.images).collect();
    images.into_iter().map(|images| images as f64).collect()
}

/// What the axes show: a little more than all points, and the accuracy from 0 where that is near.
fn ranges(curves: &[BudgetCurve], chance: f64) -> (Range<f64>, Range<f64>) {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let (low, high) = points().fold((f64::INFINITY, chance), |(low, high), point| {
        (low.min(point.mean - point.sd), high.max(point.mean + point.sd))
    });
    let ticks = ticks(curves);
    let (first, last) = (ticks.first().expect("a point"), ticks.last().expect("a point"));
    let bottom = if low < 40.0 { 0.0 } else { (low - 10.0).min(chance) };
    (first / 1.25..last * 1.25, bottom.max(0.0)..(high * 1.08 + 1.0).min(100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_go_up_to_the_smallest_class() {
        let of = |smallest| budgets(smallest).into_iter().map(|amount| amount.of(0)).collect::<Vec<_>>();
        assert_eq!(of(1), [1]);
        assert_eq!(of(13), [1, 2, 5, 10]);
        assert_eq!(of(1000), [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
        assert_eq!(of(usize::MAX).len(), 58);
    }

    #[test]
    fn the_legend_goes_where_it_covers_no_curve() {
        let position = |curves: &[[f64; 3]]| {
            let curve = |means: &[f64; 3]| BudgetCurve {
                name: "an encoder".to_owned(),
                points: [1, 10, 100]
                    .iter()
                    .zip(means)
                    .map(|(&images, &mean)| CurvePoint { images, mean, sd: 0.5 })
                    .collect(),
            };
            let curves: Vec<BudgetCurve> = curves.iter().map(curve).collect();
            let (across, up) = ranges(&curves, 10.0);
            legend_position(&curves, &across, &up)
        };
        use SeriesLabelPosition as At;
        assert!(matches!(position(&[[20.0, 45.0, 70.0]]), At::UpperLeft), "rises");
        assert!(matches!(position(&[[78.0, 79.0, 80.0]]), At::LowerRight), "begins high");
        let crossing = [[80.0, 50.0, 20.0], [70.0, 30.0, 12.0]];
        assert!(matches!(position(&crossing), At::UpperRight), "falls");
        assert!(matches!(position(&[[30.0, 80.0, 80.0], [80.0, 80.0, 15.0]]), At::LowerLeft), "a roof");
    }

    #[test]
    fn the_picture_shows_every_point_of_every_curve() {
        let points = [(1, 20.0), (10, 45.5), (100, 71.0)];
        let curve = |name: &str, factor: f64| BudgetCurve {
            name: name.to_owned(),
            points: points.map(|(images, mean)| CurvePoint { images, mean: mean * factor, sd: 2.0 }).to_vec(),
        };
        let svg = curve_picture(&[curve("pre-trained", 1.0), curve("raw <pixels>", 0.5)], 10.0);
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle ").count(), 6, "{svg}");
        for text in ["pre-trained", "raw &lt;pixels&gt;", "chance", "labelled images a class"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        // A single point has a picture as well.
        let one = BudgetCurve { points: curve("", 1.0).points[..1].to_vec(), name: "one".to_owned() };
        assert_eq!(curve_picture(&[one], 10.0).matches("<circle ").count(), 1);
    }
}
