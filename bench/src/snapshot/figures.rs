//! Tables of medians.

use serde::Serialize;

use crate::stats::Summary;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) tables: Vec<Table>,
}

/// One quantity over one variable, a line for each contender.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) title: String,
    /// What the columns are.
    pub(super) x: String,
    pub(super) unit: String,
    pub(super) rows: Vec<Row>,
    /// What is to be known about it.
    pub(super) notes: Vec<String>,
    /// Whether it makes a plot.
    pub(super) plotted: bool,
}

/// One contender's values.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
}

/// The values at one point.
#[derive(Debug, Serialize)]
pub(super) struct Cell {
    pub(super) x: f64,
    pub(super) summary: Option<Summary>,
}

impl Table {
    /// The table as text.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\n{} ({}) over {}\n", self.title, self.unit, self.x);
        let columns = self.rows.iter().max_by_key(|row| row.cells.len());
        let heads = columns.into_iter().flat_map(|row| &row.cells).map(|cell| short(cell.x));
        text += &line("", heads);
        for row in &self.rows {
            let cells = row
                .cells
                .iter()
                .map(|cell| cell.summary.map_or("-".to_owned(), |summary| short(summary.median)));
            text += &line(&row.name, cells);
        }
        self.notes.iter().for_each(|note| text += &format!("  {note}\n"));
        text
    }
}

fn line(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:>12}")).collect();
    format!("  {name:<38}{cells}\n")
}

/// Three significant digits.
pub(super) fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 || v.fract() == 0.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
