//! The job in the terminal, until the user leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use faasm_runtime::JobStatus;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::{
    draw::draw,
    jobs::{self, Job},
    keys::{Order, Screen},
    model::View,
};
use crate::commands::orders;

/// Shows a job, or lets the user choose one of several.
///
/// # Errors
/// There is no terminal, or the job is gone.
pub(super) fn show(jobs: Vec<Job>, interval: Duration) -> anyhow::Result<()> {
    let ends = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        // The terminal is to be as it was.
        signal_hook::flag::register(signal, ends.clone()).context("cannot handle signals")?;
    }
    let terminal = ratatui::try_init().context(
        "the terminal cannot be used; `faasm-run top --once` prints a table to whatever there is",
    )?;
    let shown = Live::new(jobs, interval).run(terminal, &ends);
    ratatui::restore();
    shown
}

struct Live {
    screen: Screen,
    view: View,
    interval: Duration,
    /// The job that is shown, with what it last told.
    job: Option<(u32, JobStatus)>,
    look_at: Instant,
    /// Answers to orders.
    answers: (flume::Sender<String>, flume::Receiver<String>),
    note_until: Instant,
}

impl Live {
    fn new(mut jobs: Vec<Job>, interval: Duration) -> Self {
        let now = Instant::now();
        let alone = if jobs.len() == 1 { jobs.pop() } else { None };
        Self {
            screen: if alone.is_some() { Screen::default() } else { Screen::choosing(jobs) },
            view: View::default(),
            interval,
            job: alone.map(|job| (job.process, JobStatus::default())),
            look_at: now,
            answers: flume::unbounded(),
            note_until: now,
        }
    }

    fn run(mut self, mut terminal: DefaultTerminal, ends: &AtomicBool) -> anyhow::Result<()> {
        while !ends.load(Ordering::Acquire) {
            self.look()?;
            terminal.draw(|frame| draw(frame, &self.screen, &self.view))?;
            let patience = self.look_at.saturating_duration_since(Instant::now());
            if event::poll(patience.min(KEYS_INTERVAL))?
                && let Event::Key(key) = event::read()?
            {
                let order = self.screen.press(key, &self.view);
                if order == Order::Leave {
                    return Ok(());
                }
                self.carry_out(order);
                self.view.sort(self.screen.sort, self.screen.is_reversed);
            }
        }
        Ok(())
    }

    /// Asks the job how it is doing if it is time to, and takes what orders have come to.
    fn look(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        if let Ok(answer) = self.answers.1.try_recv() {
            self.screen.note = answer;
            self.note_until = now + NOTE_TIME;
        } else if now >= self.note_until {
            self.screen.note.clear();
        }
        let Some((process, before)) = self.job.as_mut().filter(|_| now >= self.look_at) else {
            return Ok(());
        };
        let status = jobs::status(*process)
            .with_context(|| format!("the job of process {process} has ended"))?;
        let is_first = before.nodes.is_empty();
        self.view = View::between(*process, if is_first { &status } else { before }, &status);
        self.view.sort(self.screen.sort, self.screen.is_reversed);
        *before = status;
        self.look_at =
            now + if is_first { self.interval.min(FIRST_INTERVAL) } else { self.interval };
        Ok(())
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Nothing | Order::Leave => {}
            Order::Show { process } => {
                self.job = Some((process, JobStatus::default()));
                self.look_at = Instant::now();
            }
            Order::Migrate { ranks, node } => {
                let ranks: Vec<String> = ranks.iter().map(u32::to_string).collect();
                self.order(format!("migrate {} - {node}", ranks.join(",")));
            }
            Order::Drain { node } => self.order(format!("migrate - {node} -")),
        }
    }

    /// Gives an order in a thread: the screen goes on.
    fn order(&mut self, order: String) {
        let Some((process, _)) = self.job else { return };
        self.screen.note = "moving ...".to_owned();
        self.note_until = Instant::now() + ORDER_TIME_MAX;
        let answers = self.answers.0.clone();
        let give = move || {
            let answer = orders::give(process, &order).unwrap_or_else(|error| format!("{error:#}"));
            // The screen may be gone.
            let _ = answers.send(answer);
        };
        if std::thread::Builder::new().name("faasm-order".to_owned()).spawn(give).is_err() {
            self.screen.note = "no thread can be had for the order; check `ulimit -u`".to_owned();
        }
    }
}

/// How often it is looked whether an order was answered.
const KEYS_INTERVAL: Duration = Duration::from_millis(100);
/// The first rates come soon.
const FIRST_INTERVAL: Duration = Duration::from_millis(300);
/// How long the answer to an order is shown.
const NOTE_TIME: Duration = Duration::from_secs(8);
/// How long it is shown that an order is being carried out.
const ORDER_TIME_MAX: Duration = Duration::from_secs(60);
