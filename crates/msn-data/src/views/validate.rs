//! The ranges of the `[views]` section.

use super::Views;
use super::color::{HUE_PER_STRENGTH, MAX_HUE};
use crate::Error;

/// Wider blurs than this leave nothing to see at any view size in use.
const MAX_BLUR_RADIUS: f64 = 32.0;
const MAX_SIZE: usize = 4096;
const MAX_VIEWS: usize = 1024;

impl Views {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] names the first field out of its range, the range and the value.
    pub fn validate(&self) -> Result<(), Error> {
        count("views.random_views", self.random_views, 0, MAX_VIEWS)?;
        count("views.focal_views", self.focal_views, 0, MAX_VIEWS)?;
        let anchors = self.random_views + self.focal_views;
        let expected = || "at least one anchor view (random_views + focal_views)".to_owned();
        check("views.random_views", anchors > 0, expected, &self.random_views)?;
        count("views.random_size", self.random_size, 1, MAX_SIZE)?;
        count("views.focal_size", self.focal_size, 1, MAX_SIZE)?;
        let positive = |x: f64| x > 0.0;
        range("views.random_scale", self.random_scale, "above 0 and up to 1", |x| positive(x) && x <= 1.0)?;
        range("views.focal_scale", self.focal_scale, "above 0 and up to 1", |x| positive(x) && x <= 1.0)?;
        range("views.aspect", self.aspect, "above 0", |x| positive(x) && x.is_finite())?;
        probability("views.flip", self.flip)?;
        probability("views.rotation", self.rotation)?;
        within("views.color_jitter", self.color_jitter, MAX_HUE / HUE_PER_STRENGTH)?;
        probability("views.color_jitter_probability", self.color_jitter_probability)?;
        probability("views.grayscale", self.grayscale)?;
        probability("views.blur", self.blur)?;
        range("views.blur_radius", self.blur_radius, "from 0 to 32", |x| (0.0..=MAX_BLUR_RADIUS).contains(&x))
    }
}

fn count(field: &'static str, value: usize, least: usize, most: usize) -> Result<(), Error> {
    check(field, (least..=most).contains(&value), || format!("{least} to {most}"), &value)
}

pub(crate) fn probability(field: &'static str, value: f64) -> Result<(), Error> {
    within(field, value, 1.0)
}

/// [0, most]; a NaN is in no range.
pub(crate) fn within(field: &'static str, value: f64, most: f64) -> Result<(), Error> {
    check(field, (0.0..=most).contains(&value), || format!("a number from 0 to {most}"), &value)
}

pub(crate) fn range(
    field: &'static str,
    value: [f64; 2],
    each: &str,
    ok: impl Fn(f64) -> bool,
) -> Result<(), Error> {
    let [low, high] = value;
    let expected = || format!("[least, largest], each {each}, the least first");
    check(field, ok(low) && ok(high) && low <= high, expected, &value)
}

fn check(
    field: &'static str,
    ok: bool,
    expected: impl FnOnce() -> String,
    found: &dyn std::fmt::Debug,
) -> Result<(), Error> {
    if ok { Ok(()) } else { Err(Error::Config { field, expected: expected(), found: format!("{found:?}") }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Views::default().validate().unwrap();
        Views { random_views: 0, ..Views::default() }.validate().unwrap();
    }

    #[test]
    fn each_field_out_of_range_is_named_with_its_value() {
        type Change = fn(&mut Views);
        let cases: [(&str, Change, &str); 15] = [
            ("views.random_views", |v| v.random_views = 1025, "1025"),
            ("views.random_views", |v| (v.random_views, v.focal_views) = (0, 0), "0"),
            ("views.focal_views", |v| v.focal_views = 1025, "1025"),
            ("views.random_size", |v| v.random_size = 0, "0"),
            ("views.focal_size", |v| v.focal_size = 5000, "5000"),
            ("views.random_scale", |v| v.random_scale = [0.5, 0.3], "[0.5, 0.3]"),
            ("views.focal_scale", |v| v.focal_scale = [0.0, 0.3], "[0.0, 0.3]"),
            ("views.aspect", |v| v.aspect = [0.5, f64::INFINITY], "[0.5, inf]"),
            ("views.flip", |v| v.flip = 1.5, "1.5"),
            ("views.rotation", |v| v.rotation = -0.5, "-0.5"),
            ("views.color_jitter", |v| v.color_jitter = 2.6, "2.6"),
            ("views.color_jitter_probability", |v| v.color_jitter_probability = f64::NAN, "NaN"),
            ("views.grayscale", |v| v.grayscale = -0.1, "-0.1"),
            ("views.blur", |v| v.blur = 2.0, "2.0"),
            ("views.blur_radius", |v| v.blur_radius = [0.1, 33.0], "[0.1, 33.0]"),
        ];
        for (name, change, value) in cases {
            let mut views = Views::default();
            change(&mut views);
            match views.validate() {
                Err(Error::Config { field, found, .. }) => assert_eq!((field, found.as_str()), (name, value)),
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn unknown_fields_are_refused_and_missing_ones_take_the_default() {
        let parsed: Views = toml::from_str("focal_views = 4\nblur_radius = [0.1, 1.0]").unwrap();
        assert_eq!(parsed, Views { focal_views: 4, blur_radius: [0.1, 1.0], ..Views::default() });
        let error = toml::from_str::<Views>("focal_view = 4").unwrap_err().to_string();
        assert!(error.contains("focal_view") && error.contains("focal_views"), "{error}");
    }
}
