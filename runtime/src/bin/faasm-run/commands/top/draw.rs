//! Draws the screen.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::Line,
    widgets::{Cell, Paragraph, Row, Table, TableState},
};

use super::keys::{Page, Screen};
use super::model::{NodeRow, RankRow, Sort, View};
use super::text::{NODE_COLUMNS, RANK_COLUMNS, headline, node_cells, rank_cells};
use faasm_runtime::Activity;

/// Draws what there is to see.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, view: &View) {
    let [head, nodes, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(nodes_height(screen, view)),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    if screen.page == Page::Jobs {
        frame.render_widget(Line::from("Which job?").bold(), head);
        draw_jobs(frame, nodes.union(body), screen);
    } else {
        frame.render_widget(Line::from(headline(view).trim_end().to_owned()).bold(), head);
        let chosen = (screen.page == Page::Nodes).then_some(screen.node);
        draw_nodes(frame, nodes, view, chosen);
        draw_ranks(frame, body, screen, view);
    }
    draw_foot(frame, foot, screen);
}

/// Lines for the nodes: few where the ranks are looked at.
fn nodes_height(screen: &Screen, view: &View) -> u16 {
    let most = if screen.page == Page::Nodes { 20 } else { 6 };
    // Their titles, and a line between.
    view.nodes.len().min(most) as u16 + 2
}

fn draw_nodes(frame: &mut Frame<'_>, area: Rect, view: &View, chosen: Option<u32>) {
    let row = |node: &NodeRow| {
        let row = Row::new(node_cells(node));
        if node.note.is_empty() { row } else { row.style(Style::new().fg(Color::Red)) }
    };
    let widths = [5, 16, 8, 6, 6, 6, 10, 10, 20].map(Constraint::Length);
    let table = Table::new(view.nodes.iter().map(row), widths)
        .header(titles(&NODE_COLUMNS, None))
        .row_highlight_style(HIGHLIGHT);
    let at = view.nodes.iter().position(|node| Some(node.node) == chosen);
    let mut state = TableState::new().with_selected(at);
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_ranks(frame: &mut Frame<'_>, area: Rect, screen: &Screen, view: &View) {
    let row = |rank: &RankRow| {
        let mut cells = rank_cells(rank);
        if screen.marked.contains(&rank.rank) {
            cells[0].push('*');
        }
        Row::new(cells).style(Style::new().fg(color(rank.state)))
    };
    let narrow = [8, 5, 8, 6, 7, 9, 9, 10, 10].map(Constraint::Length);
    let widths = narrow.into_iter().chain([Constraint::Min(10)]);
    let table = Table::new(view.ranks.iter().map(row), widths)
        .header(titles(&RANK_COLUMNS, Some(column(screen.sort))))
        .row_highlight_style(HIGHLIGHT);
    let at = view.ranks.iter().position(|rank| rank.rank == screen.rank);
    let mut state = TableState::new().with_selected(at.filter(|_| screen.page == Page::Ranks));
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_jobs(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let (jobs, at) = &screen.jobs;
    let rows = jobs.iter().map(|job| Row::new([job.process.to_string(), job.about.clone()]));
    let widths = [Constraint::Length(10), Constraint::Min(20)];
    let table = Table::new(rows, widths).row_highlight_style(HIGHLIGHT);
    let mut state = TableState::new().with_selected(Some(*at));
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let text = match (&screen.question, screen.page) {
        (Some(asked), _) => {
            let ranks: Vec<String> = asked.ranks.iter().take(8).map(u32::to_string).collect();
            let more = if asked.ranks.len() > 8 { ", ..." } else { "" };
            format!("Move {}{more} to node: {}_   (Esc: not at all)", ranks.join(", "), asked.typed)
        }
        (None, Page::Jobs) => "arrows: choose   Enter: show   q: leave".to_owned(),
        (None, _) if !screen.note.is_empty() => screen.note.clone(),
        (None, Page::Ranks) => {
            "arrows: choose   space: mark   m: move   s: sort   r: reverse   tab: nodes   q: leave"
                .to_owned()
        }
        (None, Page::Nodes) => {
            "arrows: choose   d: move all ranks away   tab: ranks   q: leave".to_owned()
        }
    };
    frame.render_widget(
        Paragraph::new(text).style(Style::new().add_modifier(Modifier::REVERSED)),
        area,
    );
}

/// The titles of columns; the one that the rows are sorted by is underlined.
fn titles<'a>(columns: &[&'a str], sorted: Option<usize>) -> Row<'a> {
    let cell = |(index, &title): (usize, &&'a str)| {
        let is_sorted = Some(index) == sorted;
        if is_sorted { Cell::from(title).underlined() } else { Cell::from(title) }
    };
    Row::new(columns.iter().enumerate().map(cell).collect::<Vec<_>>()).bold()
}

const fn column(sort: Sort) -> usize {
    match sort {
        Sort::Rank => 0,
        Sort::Node => 1,
        Sort::State => 2,
        Sort::Cpu => 3,
        Sort::Memory => 5,
        Sort::Messages => 6,
        Sort::Bytes => 7,
    }
}

const fn color(state: Activity) -> Color {
    match state {
        Activity::Running => Color::Green,
        Activity::Ended | Activity::Starting => Color::DarkGray,
        Activity::Unknown => Color::Red,
        Activity::Waiting | Activity::Outside => Color::Reset,
    }
}

/// How the chosen row looks.
const HIGHLIGHT: Style = Style::new().add_modifier(Modifier::REVERSED);

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{super::jobs::Job, super::keys::Question, super::model::tests::view, *};

    /// The lines of a small terminal.
    fn drawn(screen: &Screen) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(110, 12)).expect("it is in memory");
        terminal.draw(|frame| draw(frame, screen, &view())).expect("it is in memory");
        let buffer = terminal.backend().buffer();
        let line = |y| (0..buffer.area.width).map(move |x| buffer[(x, y)].symbol()).collect();
        (0..buffer.area.height).map(line).collect()
    }

    #[test]
    fn nodes_and_ranks_are_shown() {
        let lines = drawn(&Screen { marked: [1].into(), ..Screen::default() });
        assert!(lines[0].starts_with("job 12: 2 ranks on 2 nodes"), "{lines:#?}");
        assert!(lines[1].starts_with("NODE  HOST"), "{lines:#?}");
        assert!(lines[2].contains("1.0 GiB") && lines[2].contains("879 KiB"), "{lines:#?}");
        assert!(lines[5].starts_with("RANK     NODE  STATE"), "{lines:#?}");
        assert!(lines[6].starts_with("0        0     runs     90"), "{lines:#?}");
        assert!(lines[7].starts_with("1*") && lines[7].contains("waits in MPI_Recv"), "{lines:#?}");
        assert!(lines[11].contains("q: leave"), "{lines:#?}");
    }

    #[test]
    fn questions_and_answers_are_at_the_foot() {
        let question = Question { ranks: vec![0, 1], typed: "n".to_owned() };
        let lines = drawn(&Screen { question: Some(question), ..Screen::default() });
        assert!(lines[11].starts_with("Move 0, 1 to node: n_"), "{lines:#?}");
        let lines = drawn(&Screen { note: "rank 0 runs on b".to_owned(), ..Screen::default() });
        assert!(lines[11].starts_with("rank 0 runs on b"), "{lines:#?}");
    }

    #[test]
    fn jobs_are_listed() {
        let job = Job { process: 345, about: "faasm-run a.wasm".to_owned() };
        let lines = drawn(&Screen::choosing(vec![job]));
        assert!(lines[0].starts_with("Which job?"), "{lines:#?}");
        assert!(lines[1].contains("345") && lines[1].contains("a.wasm"), "{lines:#?}");
    }
}
