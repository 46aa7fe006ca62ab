//! What is shown of a job: two answers and what lies between them.

use std::collections::BTreeMap;

use faasm_runtime::{Activity, JobStatus, NodeLoad, PastMoves, RankLoad};
use serde::Serialize;

/// A job at some instant, and what it did since an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct View {
    /// Process number of its `faasm-run`.
    pub(super) process: u32,
    /// How long it has run, in seconds.
    pub(super) elapsed_s: f64,
    /// Time to which rates refer.
    pub(super) interval_s: f64,
    pub(super) nodes: Vec<NodeRow>,
    pub(super) ranks: Vec<RankRow>,
    pub(super) moves: PastMoves,
}

/// A node of the job.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct NodeRow {
    pub(super) node: u32,
    pub(super) host: String,
    pub(super) process: u32,
    pub(super) workers: u32,
    /// Ranks that have not ended.
    pub(super) ranks: u32,
    /// Processor time of its process, in hundredths of a core.
    pub(super) cpu_percent: f64,
    /// Ranks that run or could, on the average.
    pub(super) load: f64,
    pub(super) resident_bytes: u64,
    /// Bytes for other nodes.
    pub(super) sent_bytes_per_s: f64,
    /// What there is to say of it.
    pub(super) note: &'static str,
}

/// A rank of the job.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct RankRow {
    pub(super) rank: u32,
    pub(super) node: u32,
    pub(super) host: String,
    pub(super) state: Activity,
    pub(super) doing: String,
    pub(super) cpu_percent: f64,
    /// How much of the time it ran or could have.
    pub(super) ready_percent: f64,
    /// Processor time since somebody first looked.
    pub(super) cpu_s: f64,
    pub(super) memory_bytes: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) messages_per_s: f64,
    pub(super) bytes_per_s: f64,
}

/// By what ranks are sorted.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Sort {
    #[default]
    Rank,
    Node,
    State,
    Cpu,
    Memory,
    Messages,
    Bytes,
}

impl Sort {
    /// The next one.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Rank => Self::Node,
            Self::Node => Self::State,
            Self::State => Self::Cpu,
            Self::Cpu => Self::Memory,
            Self::Memory => Self::Messages,
            Self::Messages => Self::Bytes,
            Self::Bytes => Self::Rank,
        }
    }

    /// The largest come first.
    const fn is_descending(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory | Self::Messages | Self::Bytes)
    }
}

impl View {
    /// The job of this process between two answers.
    pub(super) fn between(process: u32, before: &JobStatus, now: &JobStatus) -> Self {
        let interval_s = now.elapsed_us.saturating_sub(before.elapsed_us) as f64 / 1e6;
        let earlier: BTreeMap<u32, &RankLoad> =
            before.ranks.iter().map(|rank| (rank.rank, rank)).collect();
        let none = RankLoad::default();
        let rank = |rank: &RankLoad| {
            let before = earlier.get(&rank.rank).copied().unwrap_or(&none);
            rank_row(rank, before, now, interval_s)
        };
        let ranks: Vec<RankRow> = now.ranks.iter().map(rank).collect();
        let nothing = NodeLoad::default();
        let nodes = (0..).zip(&now.nodes).map(|(node, load)| {
            let before = before.nodes.get(node as usize).unwrap_or(&nothing);
            node_row(node, load, before, &ranks, interval_s)
        });
        let (nodes, elapsed_s) = (nodes.collect(), now.elapsed_us as f64 / 1e6);
        Self { process, elapsed_s, interval_s, nodes, ranks, moves: now.moves.clone() }
    }

    /// Sorts the ranks.
    pub(super) fn sort(&mut self, by: Sort, is_reversed: bool) {
        let descending = by.is_descending() != is_reversed;
        self.ranks.sort_by(|a, b| {
            let order = match by {
                Sort::Rank => a.rank.cmp(&b.rank),
                Sort::Node => a.node.cmp(&b.node),
                Sort::State => a.state.cmp(&b.state),
                Sort::Cpu => a.cpu_percent.total_cmp(&b.cpu_percent),
                Sort::Memory => a.memory_bytes.cmp(&b.memory_bytes),
                Sort::Messages => a.messages_per_s.total_cmp(&b.messages_per_s),
                Sort::Bytes => a.bytes_per_s.total_cmp(&b.bytes_per_s),
            };
            let order = if descending { order.reverse() } else { order };
            order.then(a.rank.cmp(&b.rank))
        });
    }

    /// What was moved, in a sentence.
    pub(super) fn moves_in_words(&self) -> String {
        let Some(last) = self.moves.recent.back() else { return "no rank was moved".to_owned() };
        let number =
            |count: u64| if count == 1 { "1 rank".to_owned() } else { format!("{count} ranks") };
        let ms = last.stopped_us as f64 / 1000.0;
        let to = last.ranks.first().map_or("", |(_, host)| host);
        format!(
            "{} moved so far; the last time {} to {to} ({}), the job stood for {ms:.1} ms",
            number(self.moves.ranks),
            number(last.count),
            last.why
        )
    }
}

fn rank_row(rank: &RankLoad, before: &RankLoad, status: &JobStatus, interval_s: f64) -> RankRow {
    let per_s = |now, before| rate(now, before, interval_s);
    let host = status.nodes.get(rank.node as usize).map(|node| node.host.clone());
    RankRow {
        rank: rank.rank,
        node: rank.node,
        host: host.unwrap_or_default(),
        state: rank.activity,
        doing: rank.what.clone(),
        cpu_percent: per_s(rank.busy_us, before.busy_us) / 1e4,
        ready_percent: per_s(rank.ready_us, before.ready_us) / 1e4,
        cpu_s: rank.busy_us as f64 / 1e6,
        memory_bytes: rank.memory_bytes,
        messages: rank.messages,
        bytes: rank.bytes,
        messages_per_s: per_s(rank.messages, before.messages),
        bytes_per_s: per_s(rank.bytes, before.bytes),
    }
}

fn node_row(
    node: u32,
    load: &NodeLoad,
    before: &NodeLoad,
    ranks: &[RankRow],
    interval_s: f64,
) -> NodeRow {
    let here = || ranks.iter().filter(|rank| rank.node == node);
    let bytes = |load: &NodeLoad| load.sent.iter().map(|(_, bytes)| bytes).sum();
    NodeRow {
        node,
        host: load.host.clone(),
        process: load.process,
        workers: load.workers,
        ranks: here().filter(|rank| rank.state != Activity::Ended).count() as u32,
        cpu_percent: rate(load.processor_us, before.processor_us, interval_s) / 1e4,
        load: here().fold(0.0, |sum, rank| sum + rank.ready_percent) / 100.0,
        resident_bytes: load.resident_bytes,
        sent_bytes_per_s: rate(bytes(load), bytes(before), interval_s),
        note: match (load.answers, load.leaves_in_ms) {
            // It is no member any more.
            (false, _) if load.process == 0 => "has left",
            (false, _) => "does not answer",
            (true, Some(_)) => "is about to leave",
            (true, None) => "",
        },
    }
}

/// How much a sum has grown in each second. One that has become smaller began anew.
fn rate(now: u64, before: u64, interval_s: f64) -> f64 {
    let grown = now.checked_sub(before).unwrap_or(now);
    if interval_s > 0.0 { grown as f64 / interval_s } else { 0.0 }
}

/// A number of bytes with three digits and a unit.
pub(super) fn bytes(number: f64) -> String {
    let mut rest = number.max(0.0);
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if rest < 1000.0 {
            let digits = if rest < 10.0 && unit != "B" { 1 } else { 0 };
            return format!("{rest:.digits$} {unit}");
        }
        rest /= 1024.0;
    }
    format!("{rest:.1} TiB")
}

/// What a rank does, in a word.
pub(super) const fn word(state: Activity) -> &'static str {
    match state {
        Activity::Starting => "starts",
        Activity::Running => "runs",
        Activity::Waiting => "waits",
        Activity::Outside => "outside",
        Activity::Ended => "ended",
        Activity::Unknown => "?",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use faasm_runtime::PastMove;

    use super::*;

    /// Two ranks on two nodes, a second apart; the second one has come from elsewhere meanwhile.
    pub(in super::super) fn view() -> View {
        let rank = |rank, busy_us, messages| RankLoad {
            rank,
            node: rank,
            activity: if rank == 0 { Activity::Running } else { Activity::Waiting },
            what: if rank == 0 { "running" } else { "waits in MPI_Recv (peer 0)" }.to_owned(),
            busy_us,
            ready_us: busy_us,
            memory_bytes: 3 << 20,
            messages,
            bytes: messages * 100,
            ..RankLoad::default()
        };
        let node = |host: &str, processor_us| NodeLoad {
            host: host.to_owned(),
            process: 7,
            workers: 2,
            answers: true,
            is_open: true,
            processor_us,
            resident_bytes: 1 << 30,
            sent: vec![(0, 0), (1, processor_us)],
            ..NodeLoad::default()
        };
        let mut before = JobStatus { elapsed_us: 1_000_000, ..JobStatus::default() };
        before.nodes = vec![node("a", 10), node("b", 20)];
        before.ranks = vec![rank(0, 100_000, 5), rank(1, 500_000, 1000)];
        let mut now = JobStatus { elapsed_us: 2_000_000, ..JobStatus::default() };
        now.nodes = vec![node("a", 900_010), node("b", 20)];
        now.ranks = vec![rank(0, 1_000_000, 25), rank(1, 600_000, 10)];
        let moved = PastMove {
            ranks: vec![(1, "b".to_owned())],
            count: 1,
            stopped_us: 4200,
            why: "asked for".to_owned(),
        };
        now.moves = PastMoves { orders: 1, ranks: 1, recent: [moved].into() };
        View::between(12, &before, &now)
    }

    #[test]
    fn rates_are_what_lies_between_two_answers() {
        let view = view();
        let first = &view.ranks[0];
        assert!((first.cpu_percent - 90.0).abs() < 1e-6 && first.host == "a", "{first:?}");
        assert!((first.messages_per_s - 20.0).abs() < 1e-6);
        let second = &view.ranks[1];
        assert!((second.messages_per_s - 10.0).abs() < 1e-6, "it was counted anew: {second:?}");
        assert!((view.nodes[0].cpu_percent - 90.0).abs() < 1e-6);
        assert!((view.nodes[0].load - 0.9).abs() < 1e-6 && view.nodes[1].ranks == 1);
        assert!((view.nodes[0].sent_bytes_per_s - 900_000.0).abs() < 1.0);
        assert!(
            view.moves_in_words().contains("1 rank to b (asked for), the job stood for 4.2 ms")
        );
        let none = View::between(1, &JobStatus::default(), &JobStatus::default());
        assert_eq!(none.moves_in_words(), "no rank was moved");
    }

    #[test]
    fn ranks_are_sorted_the_largest_first_where_that_is_of_interest() {
        let mut view = view();
        let order = |view: &View| view.ranks.iter().map(|rank| rank.rank).collect::<Vec<_>>();
        view.sort(Sort::Cpu, false);
        assert_eq!(order(&view), [0, 1]);
        view.sort(Sort::Cpu, true);
        assert_eq!(order(&view), [1, 0]);
        view.sort(Sort::Memory, false);
        assert_eq!(order(&view), [0, 1], "equal ones by their numbers");
        let mut seen = vec![Sort::Rank];
        while seen.last().map(|sort| sort.next()) != Some(Sort::Rank) {
            seen.extend(seen.last().map(|sort| sort.next()));
        }
        assert_eq!(seen.len(), 7);
    }

    #[test]
    fn sizes_have_few_digits() {
        for (number, text) in
            [(0.0, "0 B"), (999.0, "999 B"), (1536.0, "1.5 KiB"), (1e6, "977 KiB")]
        {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(bytes(64.0 * 1024.0 * 1024.0), "64 MiB");
    }
}
