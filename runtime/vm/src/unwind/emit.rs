//! One function, rewritten.

use std::collections::HashMap;

use wasm_encoder::{Function, Instruction};
use wasmparser::{Operator, ValType};

use super::{
    UnwindError,
    encode::{Places, Sink, written},
    frame::{self, Layout},
    tree::{Block, Code, Kind, Node, Site},
};

/// Writes `code`, which has its sites numbered, anew; `sites` are those with a number.
pub(super) fn function(
    places: Places,
    code: &Code<'_>,
    sites: u32,
) -> Result<Function, UnwindError> {
    // What the sites save is known when they are written, so the first time is for finding out.
    let first = Writer::run(places, code, Layout::default())?;
    debug_assert_eq!(first.saved.len(), sites as usize);
    let layout = Layout::new(&first.saved, &first.locals.types);
    let writer = Writer::run(places, code, layout)?;

    let mut head = Sink::new(places);
    if sites > 0 {
        let resume = (writer.resume, sites);
        frame::take_back(&mut head, &writer.layout, resume, &writer.locals.types);
    }
    let mut declared = Vec::new();
    for &ty in &writer.locals.types[code.parameters..] {
        declared.push(written(places, ty)?);
    }
    let mut function = Function::new_with_locals_types(declared);
    function.raw(head.into_bytes());
    function.raw(writer.sink.into_bytes());
    function.instruction(&Instruction::End);
    Ok(function)
}

/// Locals of the original, and those of the pass behind them.
struct Locals {
    types: Vec<ValType>,
    free: HashMap<ValType, Vec<u32>>,
}

impl Locals {
    fn take(&mut self, ty: ValType) -> u32 {
        if let Some(local) = self.free.get_mut(&ty).and_then(Vec::pop) {
            return local;
        }
        self.types.push(ty);
        u32::try_from(self.types.len() - 1).unwrap_or(u32::MAX)
    }

    fn release(&mut self, locals: &[u32]) {
        for &local in locals {
            self.free.entry(self.types[local as usize]).or_default().push(local);
        }
    }
}

struct Writer {
    sink: Sink,
    locals: Locals,
    /// Local that holds the number of the site to go to, or 0.
    resume: u32,
    results: Vec<ValType>,
    /// Locals that hold operands of the bodies around, which wait for the present one's end.
    waiting: Vec<u32>,
    /// What each site saved, in the order of their numbers.
    saved: Vec<Vec<u32>>,
    layout: Layout,
}

/// A node that holds sites.
struct Entry {
    /// Which node of the body it is.
    at: usize,
    /// Number of the first site behind it.
    end: u32,
    /// Local for the condition of an `if`, with the numbers in its first branch.
    condition: Option<(u32, u32, u32)>,
}

impl Writer {
    /// Writes all of `code` but its head.
    fn run(places: Places, code: &Code<'_>, layout: Layout) -> Result<Self, UnwindError> {
        let mut locals = Locals { types: code.locals.clone(), free: HashMap::new() };
        let resume = locals.take(ValType::I32);
        let (sink, results) = (Sink::new(places), code.results.clone());
        let (waiting, saved) = (Vec::new(), Vec::new());
        let mut writer = Self { sink, locals, resume, results, waiting, saved, layout };
        writer.body(&code.body, &[])?;
        Ok(writer)
    }

    /// Writes a body that starts with `parameters` on the stack.
    fn body(&mut self, nodes: &[Node<'_>], parameters: &[ValType]) -> Result<(), UnwindError> {
        let entries = self.entries(nodes);
        let Some(first) = entries.first() else {
            return nodes.iter().try_for_each(|node| self.straight(node));
        };
        let incoming = self.spill(parameters);
        // Nothing to skip in front of the first one: whoever is on the way to it goes straight on.
        let direct = first.at == 0 && parameters.is_empty();
        let joins = if direct { &entries[1..] } else { &entries[..] };
        joins.iter().for_each(|_| self.sink.open_block());
        self.dispatch(joins, direct.then_some(first.end));
        incoming.iter().for_each(|&local| self.sink.get(local));
        let mut at = 0;
        for (number, entry) in entries.iter().enumerate() {
            nodes[at..entry.at].iter().try_for_each(|node| self.straight(node))?;
            let joined = number > 0 || !direct;
            self.enter(&nodes[entry.at], entry.condition.map(|(local, ..)| local), joined)?;
            at = entry.at + 1;
        }
        nodes[at..].iter().try_for_each(|node| self.straight(node))?;
        // Only now: the way to a site inside sets these, and must not hit what the site has got back.
        for (local, ..) in entries.iter().filter_map(|entry| entry.condition) {
            self.locals.release(&[local]);
        }
        self.locals.release(&incoming);
        Ok(())
    }

    fn entries(&mut self, nodes: &[Node<'_>]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let (end, branch) = match node {
                Node::Site(site) if site.number > 0 => (site.number + 1, None),
                Node::Block(block) if block.sites.0 < block.sites.1 => {
                    let branch = (block.kind == Kind::If).then_some((block.sites.0, block.middle));
                    (block.sites.1, branch)
                }
                _ => continue,
            };
            let condition = branch.map(|(from, to)| (self.locals.take(ValType::I32), from, to));
            entries.push(Entry { at, end, condition });
        }
        entries
    }

    /// Goes to the join in front of the node that holds the site in `resume`, if there is one. With `direct`, numbers
    /// below it go straight on.
    fn dispatch(&mut self, joins: &[Entry], direct: Option<u32>) {
        let Some((last, others)) = joins.split_last() else { return };
        self.sink.get(self.resume);
        if let Some(from) = direct {
            self.sink.number(from);
            self.sink.put(&Instruction::I32GeU);
        }
        self.sink.open_if();
        for (local, from, to) in joins.iter().filter_map(|entry| entry.condition) {
            self.sink.get(self.resume);
            self.sink.number(from);
            self.sink.put(&Instruction::I32Sub);
            self.sink.number(to - from);
            self.sink.put(&Instruction::I32LtU);
            self.sink.set(local);
        }
        // The `if` is label 0, the first join is the innermost around it.
        let mut label = 1;
        for entry in others {
            self.sink.get(self.resume);
            self.sink.number(entry.end);
            self.sink.put(&Instruction::I32LtU);
            self.sink.put(&Instruction::BrIf(label));
            label += 1;
        }
        debug_assert!(last.end > 0);
        self.sink.put(&Instruction::Br(label));
        self.sink.close();
    }

    /// Writes a node that holds sites: all operands go to locals, so that the way to it from the head of the body
    /// and the way through what stands before it meet with an empty stack.
    fn enter(
        &mut self,
        node: &Node<'_>,
        condition: Option<u32>,
        joined: bool,
    ) -> Result<(), UnwindError> {
        let (under, inputs, results) = match node {
            Node::Site(site) => (&site.under, &site.arguments, &site.results),
            Node::Block(block) => (&block.under, &block.parameters, &block.results),
            Node::Plain(_) => return Ok(()),
        };
        if let Some(condition) = condition {
            self.sink.set(condition);
        }
        let inputs = self.spill(inputs);
        let under = self.spill(under);
        if joined {
            self.sink.close();
        }
        let waiting = self.waiting.len();
        self.waiting.extend(&under);
        match node {
            Node::Site(site) => self.site(site, &inputs)?,
            Node::Block(block) => self.block(block, condition, &inputs)?,
            Node::Plain(_) => {}
        }
        self.waiting.truncate(waiting);
        if !under.is_empty() {
            let results = self.spill(results);
            under.iter().chain(&results).for_each(|&local| self.sink.get(local));
            self.locals.release(&results);
        }
        self.locals.release(&inputs);
        self.locals.release(&under);
        Ok(())
    }

    /// Moves operands of `types`, the topmost last, from the stack to locals.
    fn spill(&mut self, types: &[ValType]) -> Vec<u32> {
        let locals: Vec<u32> = types.iter().map(|&ty| self.locals.take(ty)).collect();
        locals.iter().rev().for_each(|&local| self.sink.set(local));
        locals
    }

    fn site(&mut self, site: &Site<'_>, inputs: &[u32]) -> Result<(), UnwindError> {
        self.sink.number(0);
        self.sink.set(self.resume);
        inputs.iter().for_each(|&local| self.sink.get(local));
        self.sink.original(&site.call)?;
        let mut saved = self.waiting.clone();
        saved.extend(&site.live);
        saved.extend(&inputs[inputs.len() - site.kept..]);
        let locals = &self.locals.types;
        let frame = (site.number, &saved[..]);
        frame::hand_over(&mut self.sink, &self.layout, frame, locals, &self.results);
        self.saved.push(saved);
        Ok(())
    }

    fn block(
        &mut self,
        block: &Block<'_>,
        condition: Option<u32>,
        inputs: &[u32],
    ) -> Result<(), UnwindError> {
        inputs.iter().chain(&condition).for_each(|&local| self.sink.get(local));
        self.sink.open_original(&block.opening)?;
        self.body(&block.body, &block.parameters)?;
        if let Some(otherwise) = &block.otherwise {
            self.sink.put(&Instruction::Else);
            self.body(otherwise, &block.parameters)?;
        }
        self.sink.close_original();
        Ok(())
    }

    /// Writes a node that holds no site as it was.
    fn straight(&mut self, node: &Node<'_>) -> Result<(), UnwindError> {
        match node {
            Node::Plain(operator) => self.sink.original(operator),
            Node::Site(site) => self.held(&site.call),
            Node::Block(block) => self.block(block, None, &[]),
        }
    }

    /// A call during which the stack cannot be taken.
    fn held(&mut self, call: &Operator<'_>) -> Result<(), UnwindError> {
        self.hold(&Instruction::I32Add);
        self.sink.original(call)?;
        self.hold(&Instruction::I32Sub);
        Ok(())
    }

    fn hold(&mut self, change: &Instruction<'_>) {
        let held = self.sink.places().held;
        self.sink.put(&Instruction::GlobalGet(held));
        self.sink.number(1);
        self.sink.put(change);
        self.sink.put(&Instruction::GlobalSet(held));
    }
}
