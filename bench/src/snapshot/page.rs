//! The report as a page with plots.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::figures::{Figures, Table, short};

/// The page.
pub(super) fn render(figures: &Figures) -> Result<String> {
    let title = "Creating, resetting and restoring Faaslets";
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>{STYLE}</style>\n<h1>{title}</h1>\n"
    );
    for table in &figures.tables {
        writeln!(page, "<h2>{}</h2>", escaped(&table.title))?;
        if table.plotted {
            writeln!(page, "<figure>{}</figure>", plot(table)?)?;
        }
        writeln!(page, "<pre>{}</pre>", escaped(&table.text()))?;
    }
    page.push_str("</html>\n");
    Ok(page)
}

const STYLE: &str = "body{font:15px/1.4 sans-serif;margin:2em auto;max-width:1180px;padding:0 1em}figure{margin:.5em}";
const SIZE: (u32, u32) = (820, 420);
const FONT: (&str, u32) = ("sans-serif", 15);

fn plot(table: &Table) -> Result<String> {
    let points = |row: &super::figures::Row| -> Vec<(f64, f64)> {
        let cells = row.cells.iter().filter_map(|cell| Some((cell.x, cell.summary?.median)));
        cells.filter(|(x, y)| *x > 0.0 && *y > 0.0).collect()
    };
    let all: Vec<(f64, f64)> = table.rows.iter().flat_map(points).collect();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) =
            values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        if high > 0.0 { low / 1.3..high * 1.3 } else { 1.0..10.0 }
    };
    let (x, y) = (range(&mut all.iter().map(|p| p.0)), range(&mut all.iter().map(|p| p.1)));
    let mut svg = String::new();
    let mut draw = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(&table.title, FONT)
            .margin(12)
            .x_label_area_size(38)
            .y_label_area_size(64)
            .right_y_label_area_size(200)
            .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
        chart
            .configure_mesh()
            .x_desc(&table.x)
            .y_desc(&table.unit)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .light_line_style(WHITE)
            .draw()?;
        for (index, row) in table.rows.iter().enumerate() {
            let ours = row.name.starts_with("ours");
            let color = if ours { RED.to_rgba() } else { Palette99::pick(index).to_rgba() };
            let style = color.stroke_width(if ours { 3 } else { 2 });
            chart
                .draw_series(LineSeries::new(points(row), style))?
                .label(&row.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::MiddleRight)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        area.present()?;
        Ok(())
    };
    draw().map_err(|error| anyhow!("cannot draw a plot: {error}"))?;
    Ok(svg)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Cell, Row};
    use super::*;
    use crate::stats::Summary;

    #[test]
    fn a_page_has_its_tables_and_plots() {
        let cell = |x, y| Cell { x, summary: Summary::of([y]) };
        let row =
            |name: &str| Row { name: name.to_owned(), cells: vec![cell(1.0, 5.0), cell(2.0, 9.0)] };
        let empty = Row { name: "nothing".to_owned(), cells: vec![Cell { x: 1.0, summary: None }] };
        let table = Table {
            title: "a < b".to_owned(),
            x: "threads".to_owned(),
            unit: "µs".to_owned(),
            rows: vec![row("ours"), row("theirs"), empty],
            notes: vec!["a note".to_owned()],
            plotted: true,
        };
        let page = render(&Figures { tables: vec![table] }).expect("drawable");
        for part in ["<svg", "a &lt; b", "theirs", "a note", "9.0", "</html>"] {
            assert!(page.contains(part), "{part}");
        }
    }
}
