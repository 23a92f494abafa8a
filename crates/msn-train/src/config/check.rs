//! What settings are checked for by themselves, before they are laid over others.

use msn_model::Variant;
use toml::{Table, Value};

use super::Config;
use super::merge::{leaves, lookup, schema};
use crate::Error;

/// Refuses fields that do not exist and values of a wrong type. `place` says where a field was set.
pub(super) fn fields(settings: &Table, place: &dyn Fn(&str) -> String) -> Result<(), Error> {
    section(settings, &schema(), "", place)
}

fn section(
    settings: &Table,
    schema: &Table,
    prefix: &str,
    place: &dyn Fn(&str) -> String,
) -> Result<(), Error> {
    for (key, value) in settings {
        let field = format!("{prefix}{key}");
        let wrong_type = |expected: String, found: String| {
            Err(Error::WrongType { origin: place(&field), field: field.clone(), expected, found })
        };
        match (schema.get(key), value) {
            (None, _) => {
                let field = first_leaf(field, value);
                return Err(Error::UnknownField { origin: place(&field), nearest: nearest(&field), field });
            }
            (Some(Value::Table(inner)), Value::Table(value)) => {
                section(value, inner, &format!("{field}."), place)?;
            }
            (Some(Value::Table(inner)), value) => {
                let first = inner.keys().next().map_or("", String::as_str);
                let expected = format!("a section with fields such as {field}.{first}");
                return wrong_type(expected, format!("the value {value}"));
            }
            (Some(default), Value::Table(_)) => {
                return wrong_type(format!("a value such as {default}"), "a section".to_owned());
            }
            (Some(default), value) => {
                if let Some(expected) = mismatch(&field, value, default) {
                    return wrong_type(expected, value.to_string());
                }
            }
        }
    }
    Ok(())
}

/// What a field takes instead of `value`, if that has the wrong type.
fn mismatch(field: &str, value: &Value, default: &Value) -> Option<String> {
    let wrap = |inner: Value, key: &str| Value::Table(Table::from_iter([(key.to_owned(), inner)]));
    let error = field.rsplit('.').fold(value.clone(), wrap).try_into::<Config>().err()?;
    Some(match (default, value) {
        (Value::Integer(_), _) => format!("a whole number of at least 0, such as {default}"),
        (Value::Float(_), _) => format!("a number such as {default}"),
        (Value::Boolean(_), _) => "true or false".to_owned(),
        (Value::Array(_), _) => format!("a list such as {default}"),
        // One of several words, which the parser lists.
        (_, Value::String(_)) => {
            let message = error.message();
            message.split_once("expected ").map_or(message, |(_, words)| words).trim().to_owned()
        }
        _ => format!("a text such as {default}"),
    })
}

/// Refuses dimensions beside the name of a variant that has others: one of the two would be silently dropped.
pub(super) fn variant(settings: &Table, origin: &str) -> Result<(), Error> {
    let Some(Value::String(name)) = lookup(settings, "encoder.variant") else { return Ok(()) };
    // A name that is not in the table is refused when it is resolved.
    let Ok((variant, patch_size)) = Variant::parse(name) else { return Ok(()) };
    for (field, expected) in [
        ("encoder.dim", variant.dim),
        ("encoder.depth", variant.depth),
        ("encoder.heads", variant.heads),
        ("encoder.patch_size", patch_size),
    ] {
        match lookup(settings, field) {
            Some(&Value::Integer(found)) if usize::try_from(found) != Ok(expected) => {
                let (origin, variant) = (origin.to_owned(), name.clone());
                return Err(Error::VariantContradicted { origin, variant, field, expected, found });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first field below `name`, or `name` where nothing is below it.
fn first_leaf(name: String, value: &Value) -> String {
    match value.as_table().and_then(|table| table.iter().next()) {
        Some((key, value)) => first_leaf(format!("{name}.{key}"), value),
        None => name,
    }
}

/// The existing field or section with the most similar full name, or whose last part is the one asked for.
pub(super) fn nearest(field: &str) -> String {
    let field = &*field.to_lowercase();
    let schema = schema();
    let mut known = Vec::new();
    leaves(&schema, "", &mut known);
    let sections = schema.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.clone());
    let known = known.into_iter().map(|(name, _)| name).chain(sections);
    let last_part = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let last = last_part(field);
    // `lr` stands for `learning_rate`.
    let initials: String = last.split('_').filter_map(|word| word.chars().next()).collect();
    let similarity = |known: &str| {
        let known_last = last_part(known);
        let whole = strsim::jaro_winkler(field, known);
        let by_last = if initials == known_last { 1.0 } else { strsim::jaro_winkler(&last, &known_last) };
        // Between equally similar names the one in the same section is meant.
        by_last.max(whole) + 0.01 * whole
    };
    let scored = known.map(|known| (similarity(&known), known));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).expect("a configuration has fields").1
}
