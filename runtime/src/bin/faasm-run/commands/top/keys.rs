//! What keys do, as a pure state machine: keys in, orders out.

use std::collections::BTreeSet;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::jobs::Job;
use super::model::{Sort, View};

/// Ranks that one order moves.
const MARKED_MAX: usize = 4096;
/// Longest name of a node.
const NAME_CHARS_MAX: usize = 64;

/// What the user sees and has chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Screen {
    pub(super) page: Page,
    /// The rank, or the node, that the arrows have come to.
    pub(super) rank: u32,
    pub(super) node: u32,
    pub(super) marked: BTreeSet<u32>,
    pub(super) sort: Sort,
    pub(super) is_reversed: bool,
    /// What is being typed, if something is.
    pub(super) question: Option<Question>,
    /// What the last order came to.
    pub(super) note: String,
    /// Jobs to choose from, and the one the arrows have come to.
    pub(super) jobs: (Vec<Job>, usize),
}

/// What fills the screen.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Page {
    #[default]
    Ranks,
    Nodes,
    Jobs,
}

/// Which node ranks are to go to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Question {
    pub(super) ranks: Vec<u32>,
    pub(super) typed: String,
}

/// What is to be done after a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Order {
    Nothing,
    Leave,
    /// Move ranks to a node.
    Migrate {
        ranks: Vec<u32>,
        node: String,
    },
    /// Move all ranks away from a node.
    Drain {
        node: u32,
    },
    /// Show this job.
    Show {
        process: u32,
    },
}

impl Screen {
    /// A screen to choose one of these jobs.
    pub(super) fn choosing(jobs: Vec<Job>) -> Self {
        Self { page: Page::Jobs, jobs: (jobs, 0), ..Self::default() }
    }

    /// A key was pressed while this was shown.
    pub(super) fn press(&mut self, key: KeyEvent, view: &View) -> Order {
        if key.kind == KeyEventKind::Release {
            return Order::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            let leaves = matches!(key.code, KeyCode::Char('c' | 'd'));
            return if leaves { Order::Leave } else { Order::Nothing };
        }
        match (&mut self.question, self.page) {
            (Some(_), _) => self.answer(key.code),
            (None, Page::Jobs) => self.choose(key.code),
            (None, _) => self.browse(key.code, view),
        }
    }

    fn browse(&mut self, key: KeyCode, view: &View) -> Order {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Order::Leave,
            KeyCode::Tab | KeyCode::Char('n') => {
                self.page = if self.page == Page::Ranks { Page::Nodes } else { Page::Ranks };
            }
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char(' ') if self.page == Page::Ranks => self.mark(),
            KeyCode::Char('m') if self.page == Page::Ranks => {
                let marked = self.marked.iter().copied();
                let ranks = if self.marked.is_empty() { vec![self.rank] } else { marked.collect() };
                self.question = Some(Question { ranks, typed: String::new() });
            }
            KeyCode::Char('d') if self.page == Page::Nodes => {
                return Order::Drain { node: self.node };
            }
            key => self.step(key, view),
        }
        Order::Nothing
    }

    /// The arrows.
    fn step(&mut self, key: KeyCode, view: &View) {
        let rows: Vec<u32> = match self.page {
            Page::Ranks => view.ranks.iter().map(|rank| rank.rank).collect(),
            _ => view.nodes.iter().map(|node| node.node).collect(),
        };
        let chosen = if self.page == Page::Ranks { &mut self.rank } else { &mut self.node };
        let at = rows.iter().position(|row| row == chosen).unwrap_or(0);
        let Some(at) = step(key, at, rows.len()) else { return };
        *chosen = rows.get(at).copied().unwrap_or_default();
    }

    fn mark(&mut self) {
        if !self.marked.remove(&self.rank) && self.marked.len() < MARKED_MAX {
            self.marked.insert(self.rank);
        }
    }

    /// The name of a node is being typed.
    fn answer(&mut self, key: KeyCode) -> Order {
        let Some(question) = &mut self.question else { return Order::Nothing };
        match key {
            KeyCode::Esc => self.question = None,
            KeyCode::Backspace => drop(question.typed.pop()),
            // An order is words in a line.
            KeyCode::Char(letter) if letter.is_whitespace() => (),
            KeyCode::Char(letter) if question.typed.chars().count() < NAME_CHARS_MAX => {
                question.typed.push(letter);
            }
            KeyCode::Enter if !question.typed.is_empty() => {
                let Question { ranks, typed } = std::mem::take(question);
                self.question = None;
                self.marked.clear();
                return Order::Migrate { ranks, node: typed };
            }
            _ => {}
        }
        Order::Nothing
    }

    fn choose(&mut self, key: KeyCode) -> Order {
        let (jobs, at) = &mut self.jobs;
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Order::Leave,
            KeyCode::Enter => {
                let Some(job) = jobs.get(*at) else { return Order::Nothing };
                self.page = Page::Ranks;
                return Order::Show { process: job.process };
            }
            key => *at = step(key, *at, jobs.len()).unwrap_or(*at),
        }
        Order::Nothing
    }
}

/// Where a key leads in a list with so many rows.
fn step(key: KeyCode, at: usize, rows: usize) -> Option<usize> {
    let last = rows.checked_sub(1)?;
    Some(match key {
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => (at + 1).min(last),
        KeyCode::PageUp => at.saturating_sub(PAGE),
        KeyCode::PageDown => (at + PAGE).min(last),
        KeyCode::Home => 0,
        KeyCode::End => last,
        _ => return None,
    })
}

/// Rows that are skipped at a time.
const PAGE: usize = 10;

#[cfg(test)]
mod tests {
    use super::{super::model::tests::view, *};

    /// Presses keys one after the other; gives what the last one came to.
    fn press(screen: &mut Screen, keys: &[KeyCode]) -> Order {
        let press = |_, key: &KeyCode| screen.press(KeyEvent::from(*key), &view());
        keys.iter().fold(Order::Nothing, press)
    }

    fn letters(word: &str) -> Vec<KeyCode> {
        word.chars().map(KeyCode::Char).collect()
    }

    #[test]
    fn a_rank_is_chosen_and_moved() {
        let mut screen = Screen::default();
        press(&mut screen, &[KeyCode::Down, KeyCode::Down, KeyCode::Char('m')]);
        assert_eq!(screen.question.as_ref().map(|asked| asked.ranks.clone()), Some(vec![1]));
        press(&mut screen, &letters("n x"));
        press(&mut screen, &[KeyCode::Backspace, KeyCode::Char('2')]);
        let order = press(&mut screen, &[KeyCode::Enter]);
        assert_eq!(order, Order::Migrate { ranks: vec![1], node: "n2".to_owned() });
        assert_eq!(screen.question, None);
    }

    #[test]
    fn several_ranks_are_marked_and_moved() {
        let mut screen = Screen::default();
        let space = KeyCode::Char(' ');
        press(&mut screen, &[space, KeyCode::Down, space, space, space, KeyCode::Char('m')]);
        let order = press(&mut screen, &[KeyCode::Char('1'), KeyCode::Enter]);
        assert_eq!(order, Order::Migrate { ranks: vec![0, 1], node: "1".to_owned() });
        assert!(screen.marked.is_empty());
    }

    #[test]
    fn a_question_is_left_without_an_order() {
        let mut screen = Screen::default();
        let none = press(&mut screen, &[KeyCode::Char('m'), KeyCode::Enter]);
        assert!(none == Order::Nothing && screen.question.is_some(), "no node was named");
        assert_eq!(press(&mut screen, &letters("q")), Order::Nothing, "that is a name's letter");
        assert_eq!(press(&mut screen, &[KeyCode::Esc]), Order::Nothing);
        assert!(screen.question.is_none());
        assert_eq!(press(&mut screen, &letters("q")), Order::Leave);
    }

    #[test]
    fn nodes_are_shown_and_drained() {
        let mut screen = Screen::default();
        press(&mut screen, &[KeyCode::Tab, KeyCode::End]);
        assert_eq!((screen.page, screen.node, screen.rank), (Page::Nodes, 1, 0));
        assert_eq!(press(&mut screen, &letters("d")), Order::Drain { node: 1 });
        press(&mut screen, &[KeyCode::Tab, KeyCode::Char('d')]);
        assert_eq!(screen.page, Page::Ranks);
        press(&mut screen, &letters("ssr"));
        assert_eq!((screen.sort, screen.is_reversed), (Sort::State, true));
    }

    #[test]
    fn a_job_is_chosen() {
        let job = |process| Job { process, about: String::new() };
        let mut screen = Screen::choosing(vec![job(3), job(5)]);
        let order = press(&mut screen, &[KeyCode::Down, KeyCode::Down, KeyCode::Enter]);
        assert_eq!((order, screen.page), (Order::Show { process: 5 }, Page::Ranks));
        assert_eq!(press(&mut Screen::choosing(Vec::new()), &[KeyCode::Enter]), Order::Nothing);
    }

    #[test]
    fn control_c_always_leaves() {
        let mut screen = Screen { question: Some(Question::default()), ..Screen::default() };
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.press(key, &view()), Order::Leave);
    }
}
