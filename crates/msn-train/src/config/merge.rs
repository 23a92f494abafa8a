//! Defaults, a file and `KEY=VALUE` arguments, laid over each other.

use std::fs;
use std::path::Path;

use msn_store::RunDir;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Config, check, original};
use crate::Error;

/// Settings that lie over others. Each is of a field that exists and has its type.
#[derive(Clone, Debug)]
pub struct Source {
    settings: Table,
    /// Where they come from and the text there, if that is TOML.
    text: Option<(String, String)>,
}

impl Source {
    /// Settings in TOML, from `origin` (a file's path, for messages).
    ///
    /// # Errors
    /// If the text is not TOML, names a field that does not exist, gives one a value of the wrong type, or
    /// contradicts the encoder variant that it names.
    pub fn toml(origin: &str, text: &str) -> Result<Self, Error> {
        let settings: Table = toml::from_str(text)
            .map_err(|source| Error::Toml { origin: origin.to_owned(), source: source.into() })?;
        check::fields(&settings, &|field| place(origin, text, field))?;
        check::variant(&settings, origin)?;
        Ok(Self { settings, text: Some((origin.to_owned(), text.to_owned())) })
    }

    /// Settings in a TOML file.
    ///
    /// # Errors
    /// If the file cannot be read, and as [`Source::toml`].
    pub fn file(path: &Path) -> Result<Self, Error> {
        let text =
            fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        Self::toml(&path.display().to_string(), &text)
    }

    /// Settings in a YAML file of the original implementation, and lines about those that have no effect here.
    ///
    /// # Errors
    /// If the file cannot be read, is not such a file, or gives a field a value of the wrong type.
    pub fn original(path: &Path) -> Result<(Self, Vec<String>), Error> {
        original::file(path)
    }

    /// Settings that have been checked.
    pub(super) fn of(settings: Table) -> Self {
        Self { settings, text: None }
    }

    /// One setting as `KEY=VALUE`; a value that is not TOML by itself is taken as a string.
    ///
    /// # Errors
    /// If the argument has no `=`, names a field that does not exist, or gives it a value of the wrong type.
    pub fn argument(argument: &str) -> Result<Self, Error> {
        let not_an_override = || Error::NotAnOverride { argument: argument.to_owned() };
        let (key, text) = argument.split_once('=').ok_or_else(not_an_override)?;
        let key = key.trim();
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(not_an_override());
        }
        let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
        let value = parsed.and_then(|mut table| table.remove("value"));
        let value = value.unwrap_or_else(|| Value::String(text.trim().to_owned()));
        let mut parts = key.rsplit('.');
        let last = parts.next().expect("a key has a last part");
        let leaf = Table::from_iter([(last.to_owned(), value)]);
        let settings =
            parts.fold(leaf, |inner, part| Table::from_iter([(part.to_owned(), Value::Table(inner))]));
        check::fields(&settings, &|_| argument.to_owned())?;
        Ok(Self { settings, text: None })
    }

    /// Whether the field with this full name is set.
    pub fn sets(&self, field: &str) -> bool {
        lookup(&self.settings, field).is_some()
    }

    /// The value of the field with this full name, in TOML, if it is set.
    pub fn value(&self, field: &str) -> Option<String> {
        lookup(&self.settings, field).map(ToString::to_string)
    }

    /// Where the field is set, if that is a text in TOML: the file and the line.
    pub fn place(&self, field: &str) -> Option<String> {
        let (origin, text) = self.text.as_ref().filter(|_| self.sets(field))?;
        Some(place(origin, text, field))
    }

    /// Whether the field follows from what is set: by its own name, or by another one. A variant stands for the sizes of an
    /// encoder, and the size of images has two names.
    pub fn decides(&self, field: &str) -> bool {
        let other = match field {
            RANDOM_SIZE => Some(IMAGE_SIZE),
            IMAGE_SIZE => Some(RANDOM_SIZE),
            _ if VARIED.iter().any(|size| field == format!("encoder.{size}")) => Some(VARIANT),
            _ => None,
        };
        self.sets(field) || other.is_some_and(|other| self.sets(other))
    }
}

impl Config {
    /// The configuration that results from `base` and then each source in turn, with encoder variants resolved.
    ///
    /// `views.random_size` and `encoder.image_size` are one size: a source that sets one sets the other. Setting
    /// one of `encoder.dim`, `.depth`, `.heads` or `.patch_size` without a variant leaves the table of variants.
    ///
    /// # Errors
    /// If a variant does not exist. Ranges are checked by [`Config::validate`].
    pub fn merge(base: &Config, sources: &[Source]) -> Result<Self, Error> {
        let mut settings = Table::try_from(base).expect("every field of a configuration has a TOML form");
        let mut config = base.clone();
        for source in sources {
            overlay(&mut settings, &source.settings);
            for (from, to) in [(RANDOM_SIZE, IMAGE_SIZE), (IMAGE_SIZE, RANDOM_SIZE)] {
                if let (true, Some(size)) = (!source.sets(to), lookup(&source.settings, from)) {
                    set(&mut settings, to, size.clone());
                }
            }
            let frees = |field: &&str| source.sets(&format!("encoder.{field}"));
            if !source.sets(VARIANT) && VARIED.iter().any(frees) {
                set(&mut settings, VARIANT, Value::String(String::new()));
            }
            config = settings.try_into().expect("each source has been checked by itself");
            config.encoder = config.encoder.resolve()?;
            settings = Table::try_from(&config).expect("every field of a configuration has a TOML form");
        }
        config.encoder = config.encoder.resolve()?;
        Ok(config)
    }

    /// The configuration in a run's `config.toml`, over the defaults.
    ///
    /// # Errors
    /// If it cannot be read, and as [`Source::toml`] and [`Config::merge`].
    pub fn of_run(run: &RunDir) -> Result<Self, Error> {
        let path = run.path().join("config.toml");
        let own = Source::toml(&path.display().to_string(), &run.read_config()?)?;
        Self::merge(&Self::default(), &[own])
    }

    /// The full names of all fields, such as `optim.epochs`, in alphabetical order.
    pub fn field_names() -> Vec<String> {
        let mut fields = Vec::new();
        leaves(&schema(), "", &mut fields);
        fields.into_iter().map(|(name, _)| name).collect()
    }

    /// The field or section whose name is nearest to this one, which a person has mistyped.
    pub fn nearest_field(name: &str) -> String {
        check::nearest(name)
    }

    /// The first field whose value differs, with both values; fields in `except` (or below them) may differ.
    pub fn first_difference(&self, other: &Config, except: &[&str]) -> Option<(String, String, String)> {
        let table = |config: &Config| Table::try_from(config).expect("every field has a TOML form");
        let mut fields = Vec::new();
        leaves(&table(self), "", &mut fields);
        let others = table(other);
        fields.into_iter().find_map(|(name, value)| {
            let allowed = except.iter().any(|e| name == *e || name.starts_with(&format!("{e}.")));
            let theirs = lookup(&others, &name).expect("both have the same fields");
            (!allowed && *theirs != value).then(|| (name, value.to_string(), theirs.to_string()))
        })
    }
}

const RANDOM_SIZE: &str = "views.random_size";
const IMAGE_SIZE: &str = "encoder.image_size";
const VARIANT: &str = "encoder.variant";
/// What a variant says of an encoder.
const VARIED: [&str; 4] = ["dim", "depth", "heads", "patch_size"];

/// Every field that exists, with its default.
pub(super) fn schema() -> Table {
    Table::try_from(Config::default()).expect("every field of a configuration has a TOML form")
}

fn place(origin: &str, text: &str, field: &str) -> String {
    match line_of(text, field) {
        Some(line) => format!("{origin}, line {line}"),
        None => origin.to_owned(),
    }
}

/// The line of a TOML text that names this field, from 1.
fn line_of(text: &str, field: &str) -> Option<usize> {
    let parsed = DeTable::parse(text).ok()?;
    let mut table = parsed.get_ref();
    let mut parts = field.split('.').peekable();
    loop {
        let part = parts.next()?;
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == part)?;
        match (parts.peek(), value.get_ref()) {
            (Some(_), DeValue::Table(inner)) => table = inner,
            _ => return Some(1 + text[..key.span().start].matches('\n').count()),
        }
    }
}

/// Full names and values of all fields that are not sections.
pub(super) fn leaves(table: &Table, prefix: &str, found: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) => leaves(inner, &format!("{prefix}{key}."), found),
            other => found.push((format!("{prefix}{key}"), other.clone())),
        }
    }
}

pub(super) fn lookup<'a>(table: &'a Table, field: &str) -> Option<&'a Value> {
    match field.split_once('.') {
        None => table.get(field),
        Some((section, rest)) => lookup(table.get(section)?.as_table()?, rest),
    }
}

fn set(table: &mut Table, field: &str, value: Value) {
    let (section, key) = field.split_once('.').expect("a field of a section");
    let section = table.get_mut(section).and_then(Value::as_table_mut).expect("every section has a default");
    section.insert(key.to_owned(), value);
}

/// Lays `top` over `base`.
fn overlay(base: &mut Table, top: &Table) {
    for (key, value) in top {
        match (base.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => overlay(inner, value),
            (_, value) => drop(base.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(arguments: &[&str]) -> Result<Config, Error> {
        let sources: Result<Vec<_>, _> =
            arguments.iter().map(|argument| Source::argument(argument)).collect();
        Config::merge(&Config::default(), &sources?)
    }

    #[test]
    fn every_field_can_be_set_by_an_argument_to_its_own_value() {
        let mut fields = Vec::new();
        leaves(&schema(), "", &mut fields);
        assert!(fields.len() > 40, "found only {} fields", fields.len());
        for (name, value) in &fields {
            let config = merged(&[&format!("{name}={value}")]).expect("its own value");
            let table = Table::try_from(&config).expect("a TOML form");
            assert_eq!(lookup(&table, name), Some(value), "{name}");
        }
    }

    #[test]
    fn later_sources_win_and_strings_need_no_quotes() {
        let config = merged(&["optim.lr=3e-4", "encoder.variant=vit-ti8", "optim.lr=5e-4"]).expect("valid");
        assert_eq!((config.optim.lr, config.encoder.dim, config.encoder.patch_size), (5e-4, 192, 8));
    }

    #[test]
    fn the_two_names_of_the_image_size_move_together() {
        let config = merged(&["encoder.image_size=96"]).expect("valid");
        assert_eq!(config.views.random_size, 96);
        let config = merged(&["views.random_size=64"]).expect("valid");
        assert_eq!(config.encoder.image_size, 64);
    }

    #[test]
    fn a_dimension_of_ones_own_leaves_the_table_of_variants() {
        let config = merged(&["encoder.depth=6"]).expect("valid");
        assert_eq!((config.encoder.variant.as_str(), config.encoder.depth, config.encoder.dim), ("", 6, 384));
    }

    #[test]
    fn unknown_fields_name_their_nearest_neighbour() {
        for (given, meant) in [
            ("optim.learning_rate=1", "optim.lr"),
            ("optim.warmup=3", "optim.warmup_epochs"),
            ("optimizer.lr=1", "optim.lr"),
            ("mask.patch_drp=0.3", "mask.patch_drop"),
            ("OPTIM.EPOCHS=1", "optim.epochs"),
            ("batch_size=3", "train.batch_size"),
            ("objective.sinkhorn_iteration=2", "objective.sinkhorn_iterations"),
        ] {
            let message = merged(&[given]).expect_err("unknown").to_string();
            let (field, _) = given.split_once('=').expect("KEY=VALUE");
            let expected = format!("{given}: unknown field `{field}` (did you mean `{meant}`?)");
            assert_eq!(message, expected);
        }
        for far in ["xyzzy=1", "optim.q.q=1", "q.optim=3"] {
            let message = merged(&[far]).expect_err("unknown").to_string();
            assert!(message.contains("did you mean `"), "{message}");
        }
        let file = |text: &str| Source::toml("my.toml", text).expect_err("unknown").to_string();
        let message = file("seed = 1\n\n[optimiser]\nlr = 1.0\n");
        assert_eq!(message, "my.toml, line 4: unknown field `optimiser.lr` (did you mean `optim.lr`?)");
        let message = file("seed = 1\n[optimiser]\n");
        assert_eq!(message, "my.toml, line 2: unknown field `optimiser` (did you mean `optim`?)");
    }

    #[test]
    fn wrong_types_are_named_with_file_line_and_field() {
        let file = |text: &str| Source::toml("my.toml", text).expect_err("a wrong type").to_string();
        for (text, expected) in [
            (
                "seed = 1\n\n[optim]\nepochs = 3\nlr = \"high\"\n",
                "my.toml, line 5: optim.lr: expected a number such as 0.001, found \"high\"",
            ),
            (
                "optim.lr = 1\ntrain.batch_size = 1.5\n",
                "my.toml, line 2: train.batch_size: expected a whole number of at least 0, such as 64, found 1.5",
            ),
            (
                "[views]\nrandom_scale = [\n  0.3,\n]\n",
                "my.toml, line 2: views.random_scale: expected a list such as [0.3, 1.0], found [0.3]",
            ),
            (
                "[objective]\nsinkhorn = 1\n",
                "my.toml, line 2: objective.sinkhorn: expected true or false, found 1",
            ),
            (
                "[encoder]\nvariant = 16\n",
                "my.toml, line 2: encoder.variant: expected a text such as \"vit-s16\", found 16",
            ),
            (
                "[mask]\nmask = \"per-view\"\n",
                "my.toml, line 2: mask.mask: expected `per-batch` or `per-image`, found \"per-view\"",
            ),
            (
                "optim = 3\n",
                "my.toml, line 1: optim: expected a section with fields such as optim.epochs, found the value 3",
            ),
            ("[seed]\nvalue = 3\n", "my.toml, line 1: seed: expected a value such as 0, found a section"),
        ] {
            assert_eq!(file(text), expected);
        }
        let message = merged(&["optim.epochs=many"]).expect_err("not a number").to_string();
        let expected = "optim.epochs: expected a whole number of at least 0, such as 100, found \"many\"";
        assert_eq!(message, format!("optim.epochs=many: {expected}"));
        let message = merged(&["optim=3"]).expect_err("a section").to_string();
        assert!(message.contains("expected a section with fields such as optim.epochs"), "{message}");
    }

    #[test]
    fn malformed_arguments_and_files_are_explained() {
        assert!(merged(&["optim.lr"]).expect_err("no value").to_string().contains("KEY=VALUE"));
        assert!(merged(&["=3"]).expect_err("no key").to_string().contains("KEY=VALUE"));
        let message = Source::toml("my.toml", "[optim]\nlr = \n").expect_err("not TOML").to_string();
        assert!(message.starts_with("my.toml") && message.contains("line 2"), "{message}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_the_reason() {
        let error = Source::file("no/such.toml".as_ref()).expect_err("not there");
        assert!(
            matches!(&error, Error::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
        );
        let message = error.to_string();
        assert!(
            message.starts_with("no/such.toml: expected a readable file of settings, found "),
            "{message}"
        );
    }

    #[test]
    fn a_file_that_contradicts_its_variant_is_refused() {
        let read = |text: &str| Source::toml("my.toml", text);
        let message = read("[encoder]\nvariant = \"vit-s16\"\npatch_size = 8\n").expect_err("16").to_string();
        for part in ["my.toml", "\"vit-s16\"", "encoder.patch_size = 16", "encoder.patch_size = 8"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(read("[encoder]\nvariant = \"vit-s16\"\ndepth = 6\n").is_err());
        // The same value is no contradiction, nor are dimensions without a variant.
        read("[encoder]\nvariant = \"vit-s16\"\npatch_size = 16\n").expect("they agree");
        read("[encoder]\nvariant = \"\"\npatch_size = 8\n").expect("free");
        // What comes later wins, as everywhere.
        let config = merged(&["encoder.variant=vit-ti8", "encoder.patch_size=16"]).expect("valid").encoder;
        assert_eq!((config.variant.as_str(), config.patch_size, config.dim), ("", 16, 192));
        let config = merged(&["encoder.patch_size=16", "encoder.variant=vit-ti8"]).expect("valid").encoder;
        assert_eq!((config.variant.as_str(), config.patch_size), ("vit-ti8", 8));
    }

    #[test]
    fn the_written_configuration_reads_back_the_same() {
        let config = merged(&["encoder.variant=vit-b8", "seed=7"]).expect("valid");
        let text = config.to_toml();
        let read = Config::merge(&Config::default(), &[Source::toml("config.toml", &text).expect("TOML")]);
        assert_eq!(read.expect("valid"), config);
        assert_eq!(config.first_difference(&config, &[]), None);
        let other = Config { seed: 8, ..config.clone() };
        let difference = config.first_difference(&other, &["data.workers"]).expect("differ");
        assert_eq!(difference, ("seed".to_owned(), "7".to_owned(), "8".to_owned()));
        assert_eq!(config.first_difference(&other, &["seed"]), None);
    }

    #[test]
    fn out_of_range_values_name_the_field_the_range_and_the_value() {
        for (argument, range) in [
            ("optim.lr=0", "above 0"),
            ("objective.sharpen=1.5", "(0, 1]"),
            ("train.batch_size=1", "at least 2"),
            ("mask.patch_drop=1.0", "1"),
            ("encoder.image_size=100", "multiple"),
            ("data.max_skipped=2", "0 to 1"),
            ("data.max_file_mib=0", "1 to"),
            ("data.max_file_mib=9000000000000000000", "1 to"),
            ("data.max_megapixels=0", "1 to"),
            ("data.max_megapixels=9000000000000000000", "1 to"),
        ] {
            let message =
                merged(&[argument]).and_then(|c| c.validate()).expect_err("out of range").to_string();
            let field = argument.split('=').next().expect("a key").rsplit('.').next().expect("a last part");
            assert!(message.contains(field) && message.contains(range), "{argument}: {message}");
        }
    }
}
