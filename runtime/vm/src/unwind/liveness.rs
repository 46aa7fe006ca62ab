//! Which locals are read after a call, and which calls can be sites at all.

use wasmparser::{Catch, Operator, ValType};

use super::tree::{Block, Code, Kind, Node};

/// How many sites a function has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sites {
    /// With a number.
    pub(super) taken: u32,
    /// Without.
    pub(super) held: u32,
}

/// Fills in what each site of `code` must save, and gives the sites their numbers; none where the stack is `held`.
pub(super) fn annotate(code: &mut Code<'_>, held: bool) -> Sites {
    let mut walk = Walk { labels: vec![Set::new(code.locals.len())], throws: Vec::new() };
    let nothing = Set::new(code.locals.len());
    walk.body(&mut code.body, nothing);
    let mut sites = Sites::default();
    number(&mut code.body, &code.locals, held, &mut sites);
    sites
}

/// A set of locals.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn new(locals: usize) -> Self {
        Self(vec![0; locals.div_ceil(64)])
    }

    fn insert(&mut self, local: u32) {
        if let Some(word) = self.0.get_mut(local as usize / 64) {
            *word |= 1 << (local % 64);
        }
    }

    fn remove(&mut self, local: u32) {
        if let Some(word) = self.0.get_mut(local as usize / 64) {
            *word &= !(1 << (local % 64));
        }
    }

    fn join(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn members(&self) -> Vec<u32> {
        let bits = |(at, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        };
        self.0.iter().enumerate().flat_map(bits).filter_map(|at| u32::try_from(at).ok()).collect()
    }
}

/// Walks code backwards.
struct Walk {
    /// What is live at the target of each label, the function's own first.
    labels: Vec<Set>,
    /// What is live at any handler that an exception may reach from here; one for each `try_table` around.
    throws: Vec<Set>,
}

impl Walk {
    /// What is live in front of `nodes`, when `live` is behind them.
    fn body(&mut self, nodes: &mut [Node<'_>], mut live: Set) -> Set {
        for node in nodes.iter_mut().rev() {
            match node {
                Node::Plain(operator) => self.plain(operator, &mut live),
                Node::Site(site) => {
                    self.may_throw(&mut live);
                    site.live = live.members();
                }
                Node::Block(block) => live = self.block(block, live),
            }
        }
        live
    }

    fn plain(&self, operator: &Operator<'_>, live: &mut Set) {
        match *operator {
            Operator::LocalGet { local_index } => live.insert(local_index),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                live.remove(local_index);
            }
            Operator::Br { relative_depth } => {
                live.clear();
                live.join(self.label(relative_depth));
            }
            Operator::BrIf { relative_depth } => live.join(self.label(relative_depth)),
            Operator::BrTable { ref targets } => {
                live.clear();
                live.join(self.label(targets.default()));
                for target in targets.targets().flatten() {
                    live.join(self.label(target));
                }
            }
            Operator::Return | Operator::Unreachable => live.clear(),
            Operator::Throw { .. } | Operator::ThrowRef => {
                live.clear();
                self.may_throw(live);
            }
            Operator::Call { .. } | Operator::CallIndirect { .. } => self.may_throw(live),
            _ => {}
        }
    }

    fn may_throw(&self, live: &mut Set) {
        if let Some(handlers) = self.throws.last() {
            live.join(handlers);
        }
    }

    /// What is live at the target of the label `depth` levels out; the function's own is its end.
    fn label(&self, depth: u32) -> &Set {
        let at = self.labels.len().saturating_sub(1 + depth as usize);
        &self.labels[at]
    }

    fn block(&mut self, block: &mut Block<'_>, after: Set) -> Set {
        match block.kind {
            Kind::Block => {
                self.labels.push(after.clone());
                let before = self.body(&mut block.body, after);
                self.labels.pop();
                before
            }
            Kind::If => {
                self.labels.push(after.clone());
                let mut before = match &mut block.otherwise {
                    Some(otherwise) => self.body(otherwise, after.clone()),
                    None => after.clone(),
                };
                before.join(&self.body(&mut block.body, after));
                self.labels.pop();
                before
            }
            Kind::TryTable => {
                let handlers = self.handlers(&block.opening);
                self.labels.push(after.clone());
                self.throws.push(handlers);
                let before = self.body(&mut block.body, after);
                self.throws.pop();
                self.labels.pop();
                before
            }
            Kind::Loop => self.repeat(block, after),
        }
    }

    /// A loop's label is its own head: what is live there grows until it stays the same. A loop inside
    /// another one is looked at several times, each time with more live behind it, and so goes on from what it had.
    fn repeat(&mut self, block: &mut Block<'_>, after: Set) -> Set {
        let mut head = after.clone();
        head.clear();
        head.join(&Set(std::mem::take(&mut block.head)));
        loop {
            self.labels.push(head.clone());
            let mut before = self.body(&mut block.body, after.clone());
            self.labels.pop();
            before.join(&head);
            if before == head {
                block.head.clone_from(&head.0);
                return head;
            }
            head = before;
        }
    }

    /// What is live at the handlers of a `try_table`, or of those around it. Its labels count from outside.
    fn handlers(&self, opening: &Operator<'_>) -> Set {
        let mut live = self.labels[0].clone();
        live.clear();
        if let Some(outer) = self.throws.last() {
            live.join(outer);
        }
        if let Operator::TryTable { try_table } = opening {
            for catch in &try_table.catches {
                let (Catch::One { label, .. }
                | Catch::OneRef { label, .. }
                | Catch::All { label }
                | Catch::AllRef { label }) = *catch;
                live.join(self.label(label));
            }
        }
        live
    }
}

/// Whether values of `ty` can leave the guest and come back.
pub(super) fn is_value(ty: ValType) -> bool {
    !matches!(ty, ValType::Ref(_))
}

/// Gives sites their numbers in order; `held` where a reference waits on the operand stack around.
fn number(nodes: &mut [Node<'_>], locals: &[ValType], held: bool, sites: &mut Sites) {
    for node in nodes {
        match node {
            Node::Plain(_) => {}
            Node::Site(site) => {
                let kept = site.arguments.len() - site.kept;
                let mut saved = site.under.iter().chain(&site.arguments[kept..]).copied();
                let live = |local: &u32| locals.get(*local as usize).copied().is_none_or(is_value);
                if held || !saved.all(is_value) || !site.live.iter().all(live) {
                    sites.held += 1;
                } else {
                    sites.taken += 1;
                    site.number = sites.taken;
                }
            }
            Node::Block(block) => {
                // Parameters of a body come back as zeros, which a reference cannot.
                let plain = |types: &[ValType]| types.iter().copied().all(is_value);
                let held = held || !plain(&block.under) || !plain(&block.parameters);
                block.sites.0 = sites.taken + 1;
                number(&mut block.body, locals, held, sites);
                block.middle = sites.taken + 1;
                if let Some(otherwise) = &mut block.otherwise {
                    number(otherwise, locals, held, sites);
                }
                block.sites.1 = sites.taken + 1;
            }
        }
    }
}
