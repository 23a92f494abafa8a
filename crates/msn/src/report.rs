//! Results: tables for people, JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

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

/// Prints a table, and writes `value` as JSON where asked to: `-` prints it instead of the table.
pub(crate) fn show(table: &Table, json: Option<&Path>, value: &impl Serialize) -> anyhow::Result<()> {
    match json {
        Some(path) if path == Path::new("-") => {
            println!("{}", serde_json::to_string_pretty(value).context("the results have no JSON form")?);
        }
        Some(path) => {
            print!("{}", table.text());
            msn_store::export::write_json(path, value)?;
        }
        None => print!("{}", table.text()),
    }
    Ok(())
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
}
