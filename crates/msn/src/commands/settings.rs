//! `msn settings`

use std::fmt::Write as _;

use anyhow::{anyhow, bail};
use msn_train::Config;

use crate::cli::Settings;
use crate::failure::wrong_arguments;
use crate::report;

/// The page that people read, which the tests below compare with the fields that exist.
const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md"));

/// Columns of what is printed.
const WIDTH: usize = 96;
const INDENT: &str = "    ";

/// A setting as the page describes it.
struct Setting {
    /// Such as `optim.epochs`.
    name: String,
    /// The default as TOML.
    default: String,
    /// Meaning, unit and range, in one line.
    meaning: String,
    /// Heading of the section that it begins, if it is the first one there.
    heading: Option<String>,
}

pub(crate) fn run(arguments: &Settings) -> anyhow::Result<()> {
    let all = settings(PAGE);
    let mut text = String::new();
    if arguments.names.is_empty() {
        all.iter().for_each(|setting| write(setting, setting.heading.as_deref(), &mut text));
    }
    for name in &arguments.names {
        let found = meant(name, &all);
        if found.is_empty() {
            let nearest = Config::nearest_field(&name.to_lowercase());
            bail!(wrong_arguments(anyhow!(
                "{name}: expected a setting, a section or a part of a setting's name; the nearest is {nearest}"
            )));
        }
        found.into_iter().for_each(|setting| write(setting, None, &mut text));
    }
    report::print(&text)
}

/// The setting of this name, those of the section, or else those that have it in their names; in capitals or not.
fn meant<'a>(wanted: &str, all: &'a [Setting]) -> Vec<&'a Setting> {
    let wanted = wanted.to_lowercase();
    let section = format!("{wanted}.");
    let ways: [&dyn Fn(&str) -> bool; 3] = [
        &|name| name == wanted || name.rsplit('.').next() == Some(&wanted),
        &|name| name.starts_with(&section),
        &|name| name.contains(&wanted),
    ];
    let found = ways.iter().map(|is_meant| all.iter().filter(|setting| is_meant(&setting.name)).collect());
    found.into_iter().find(|found: &Vec<_>| !found.is_empty()).unwrap_or_default()
}

fn write(setting: &Setting, heading: Option<&str>, text: &mut String) {
    let Setting { name, default, meaning, .. } = setting;
    if let Some(heading) = heading {
        writeln!(text, "\n{heading}\n").expect("a String takes everything");
    }
    writeln!(text, "{name} = {default}").expect("a String takes everything");
    let mut line = INDENT.to_owned();
    for word in meaning.split_whitespace() {
        if line.len() + word.len() + 1 > WIDTH {
            writeln!(text, "{}", line.trim_end()).expect("a String takes everything");
            INDENT.clone_into(&mut line);
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(text, "{}", line.trim_end()).expect("a String takes everything");
}

/// The settings of the page, in its order: each is an item of a list, "- `NAME = DEFAULT`: MEANING", under the heading of its
/// section.
fn settings(page: &str) -> Vec<Setting> {
    let mut all: Vec<Setting> = Vec::new();
    let mut heading = None;
    let mut within = false;
    for line in page.lines() {
        let plain = line.replace('`', "");
        if let Some(title) = plain.strip_prefix("## ") {
            heading = Some(title.to_owned());
            within = false;
        } else if let Some((name, default)) = plain.strip_prefix("- ").and_then(|item| item.split_once(" = "))
        {
            let default = default.trim_end_matches(':').to_owned();
            all.push(Setting {
                name: name.to_owned(),
                default,
                meaning: String::new(),
                heading: heading.take(),
            });
            within = true;
        } else if let (true, Some(setting)) = (within && line.starts_with("  "), all.last_mut()) {
            setting.meaning.push_str(plain.trim());
            setting.meaning.push(' ');
        } else {
            within = false;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use toml::{Table, Value};

    use super::*;

    fn default_of<'a>(table: &'a Table, name: &str) -> Option<&'a Value> {
        match name.split_once('.') {
            Some((section, field)) => default_of(table.get(section)?.as_table()?, field),
            None => table.get(name),
        }
    }

    /// Equal but for the rounding of `f32` fields.
    fn agree(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Float(a), Value::Float(b)) => (a - b).abs() <= 1e-6 * a.abs(),
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b))
            }
            (a, b) => a == b,
        }
    }

    #[test]
    fn the_page_has_every_setting_with_its_default() {
        let described = settings(PAGE);
        let names: BTreeSet<_> = described.iter().map(|setting| setting.name.clone()).collect();
        assert_eq!(names, BTreeSet::from_iter(Config::field_names()));
        assert_eq!(described.len(), names.len(), "each once");
        let defaults = Table::try_from(Config::default()).expect("a TOML form");
        for Setting { name, default, meaning, .. } in &described {
            let stated: Table = toml::from_str(&format!("value = {default}")).expect("a default is TOML");
            let actual = default_of(&defaults, name).expect("a field");
            assert!(agree(&stated["value"], actual), "{name}: the page has {default}, the code {actual}");
            assert!(meaning.len() > 20, "{name}: {meaning}");
        }
    }

    #[test]
    fn each_section_has_its_heading_and_lines_fit() {
        let described = settings(PAGE);
        let headings = described.iter().filter_map(|setting| setting.heading.as_deref());
        let sections: Vec<_> =
            headings.map(|heading| heading.split(':').next().unwrap_or_default()).collect();
        assert_eq!(sections, ["data", "views", "mask", "encoder", "head", "objective", "optim", "train"]);
        let mut text = String::new();
        described.iter().for_each(|setting| write(setting, setting.heading.as_deref(), &mut text));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains("\noptim.lr = 0.001\n    learning rate after the warm-up, above 0."), "{text}");
    }

    #[test]
    fn a_section_a_name_and_a_part_of_one_are_found() {
        let found = |wanted: &str| -> Vec<String> {
            let all = settings(PAGE);
            meant(wanted, &all).into_iter().map(|setting| setting.name.clone()).collect()
        };
        assert_eq!(found("head"), ["head.hidden_dim", "head.output_dim", "head.batch_norm"]);
        // Not those whose names it begins.
        assert_eq!(found("objective.sharpen"), ["objective.sharpen"]);
        assert_eq!(found("blur"), ["views.blur"]);
        assert_eq!(found("LR"), ["optim.lr"]);
        assert_eq!(found("jitter"), ["views.color_jitter", "views.color_jitter_probability"]);
        assert!(found("temprature").is_empty());
    }
}
