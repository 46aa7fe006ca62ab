//! A job as text, once.

use std::fmt::Write as _;

use super::model::{NodeRow, RankRow, View, bytes, word};

/// Tables of the nodes and the ranks.
pub(super) fn table(view: &View) -> String {
    let mut text = headline(view);
    text.push('\n');
    let nodes = view.nodes.iter().map(|node| node_cells(node).into());
    push(&mut text, &NODE_COLUMNS, nodes);
    text.push('\n');
    let ranks = view.ranks.iter().map(|rank| rank_cells(rank).into());
    push(&mut text, &RANK_COLUMNS, ranks);
    text
}

/// A node, by columns.
pub(super) fn node_cells(node: &NodeRow) -> [String; NODE_COLUMNS.len()] {
    [
        node.node.to_string(),
        node.host.clone(),
        node.workers.to_string(),
        node.ranks.to_string(),
        format!("{:.0}", node.cpu_percent),
        format!("{:.1}", node.load),
        bytes(node.resident_bytes as f64),
        bytes(node.sent_bytes_per_s),
        node.note.to_owned(),
    ]
}

/// A rank, by columns.
pub(super) fn rank_cells(rank: &RankRow) -> [String; RANK_COLUMNS.len()] {
    [
        rank.rank.to_string(),
        rank.node.to_string(),
        word(rank.state).to_owned(),
        format!("{:.0}", rank.cpu_percent),
        format!("{:.0}", rank.ready_percent),
        bytes(rank.memory_bytes as f64),
        format!("{:.0}", rank.messages_per_s),
        bytes(rank.bytes_per_s),
        rank.messages.to_string(),
        rank.doing.clone(),
    ]
}

/// The job in a line or two.
pub(super) fn headline(view: &View) -> String {
    let (ranks, nodes) = (view.ranks.len(), view.nodes.len());
    let number = |count, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "job {}: {} on {}, {:.1} s; {}\n",
        view.process,
        number(ranks, "rank"),
        number(nodes, "node"),
        view.elapsed_s,
        view.moves_in_words()
    )
}

/// The columns of nodes.
pub(super) const NODE_COLUMNS: [&str; 9] =
    ["NODE", "HOST", "WORKERS", "RANKS", "CPU%", "LOAD", "MEMORY", "SENT/S", ""];
/// The columns of ranks.
pub(super) const RANK_COLUMNS: [&str; 10] =
    ["RANK", "NODE", "STATE", "CPU%", "READY%", "MEMORY", "MSG/S", "BYTES/S", "MESSAGES", "DOING"];

/// Adds a table whose columns are as wide as their longest entry.
fn push(text: &mut String, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    let width = |index: usize| {
        let entries =
            rows.iter().filter_map(|row| row.get(index)).map(|entry| entry.chars().count());
        entries.chain([columns[index].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let head: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
    for row in [head].iter().chain(&rows) {
        let entries: Vec<String> =
            row.iter().zip(&widths).map(|(entry, width)| format!("{entry:<width$}")).collect();
        writeln!(text, "{}", entries.join("  ").trim_end())
            .expect("writing to a String cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::{super::model::tests::view, *};

    #[test]
    fn a_table_has_a_line_for_each_node_and_rank() {
        let text = table(&view());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("job 12: 2 ranks on 2 nodes, 2.0 s; 1 rank moved"), "{text}");
        assert!(lines[2].starts_with("NODE  HOST  WORKERS"), "{text}");
        assert_eq!(lines[3].split_whitespace().nth(4), Some("90"), "{text}");
        assert!(lines[6].starts_with("RANK  NODE  STATE"), "{text}");
        assert!(lines[8].ends_with("waits in MPI_Recv (peer 0)"), "{text}");
        assert_eq!(lines.len(), 9);
    }
}
