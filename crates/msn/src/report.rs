//! Results: tables for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::path::Path;

use anyhow::Context;
use msn_store::{RunDir, export};
use serde::Serialize;

use crate::failure::NO_STDOUT;
use crate::features;
use crate::progress::{harmless, say, warn};

/// A table in plain text: the first column to the left, the others to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the given names of columns.
    pub(crate) fn new(header: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { rows: vec![header.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row, which must have as many cells as the header.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.rows[0].len(), "cells of a row: {cells:?}");
        self.rows.push(cells);
    }

    /// The lines of the table, each ended by a line feed.
    pub(crate) fn text(&self) -> String {
        let columns = 0..self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = columns.map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let (first, others) = row.split_first().expect("a table has columns");
            let mut line = format!("{first:<width$}", width = widths[0]);
            for (cell, width) in others.iter().zip(&widths[1..]) {
                write!(line, "  {cell:>width$}").expect("a String takes everything");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// How the JSON of every command begins, so that its files are told apart from other people's.
pub(crate) const JSON_START: &str = "{\n  \"msn\": \"";

/// Results with the name of what they are results of.
#[derive(Serialize)]
struct Marked<'a, R> {
    msn: &'a str,
    #[serde(flatten)]
    results: &'a R,
}

/// Prints the tables of the evaluation `name`, `text`, and writes `results` as JSON: to the file of `--json`, where `-` prints
/// it instead of the tables; without one to `eval/` in the run folder of `checkpoint`, if it has one. The tables are
/// printed even if the file cannot be written.
pub(crate) fn show(
    text: &str,
    name: &str,
    checkpoint: &str,
    json: Option<&Path>,
    results: &impl Serialize,
) -> anyhow::Result<()> {
    if json.is_some() {
        return show_json(text, name, json, results);
    }
    let results = Marked { msn: name, results };
    match features::run_of(checkpoint) {
        Some((run, suffix)) => {
            let written =
                RunDir::open(&run).and_then(|run| run.write_evaluation(&format!("{name}{suffix}"), &results));
            match written {
                Ok(path) => say(&format!("the same as JSON: {}", path.display())),
                // Somebody else's run may be read-only, and the table is what was asked for.
                Err(error) => warn(&format!("no JSON: {error}; choose a file with --json")),
            }
        }
        None => say("the same as JSON: with --json FILE, since there is no run folder to write to"),
    }
    print(text)
}

/// Prints `text` and writes `results` as JSON to the file of `--json`, if there is one; `-` prints them instead of `text`.
pub(crate) fn show_json(
    text: &str,
    name: &str,
    json: Option<&Path>,
    results: &impl Serialize,
) -> anyhow::Result<()> {
    let results = Marked { msn: name, results };
    let Some(path) = json else { return print(text) };
    if path == Path::new("-") {
        let text = serde_json::to_string_pretty(&results).context("the results have no JSON form")?;
        return write(&format!("{}\n", escape_controls(&text)));
    }
    // Before the tables, whose reader may leave.
    let written = export::write_json(path, &results);
    print(text)?;
    Ok(written?)
}

/// JSON without the control characters that may stand in its strings as they are, but that a terminal obeys.
fn escape_controls(json: &str) -> String {
    json.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '\u{7f}'..='\u{9f}' => write!(escaped, "\\u{:04x}", c as u32).expect("a String takes everything"),
            c => escaped.push(c),
        }
        escaped
    })
}

/// Prints results for people on standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    write(&harmless(text))
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context(NO_STDOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["shots", "top-1 %"]);
        table.row(["1", "12.3"]);
        table.row(["10", "5.0 +- 0.1"]);
        assert_eq!(table.text(), "shots     top-1 %\n1            12.3\n10     5.0 +- 0.1\n");
    }

    #[test]
    fn names_with_control_characters_stay_json() {
        let results =
            Marked { msn: "x", results: &std::collections::BTreeMap::from([("name", "a\u{85}\u{7f}\n")]) };
        let text = serde_json::to_string_pretty(&results).expect("strings");
        assert!(text.starts_with(JSON_START), "{text}");
        let escaped = escape_controls(&text);
        assert!(!escaped.chars().any(|c| c.is_control() && c != '\n'), "{escaped:?}");
        let parsed: serde_json::Value = serde_json::from_str(&escaped).expect("JSON");
        assert_eq!(parsed["name"], "a\u{85}\u{7f}\n");
    }
}
