//! A function's code as a tree, with the types of what waits on the operand stack where it matters.

use wasmparser::{BlockType, FuncValidator, FunctionBody, Operator, ValType, ValidatorResources};

use super::{UnwindError, graph::Reach, index::Index};

/// Levels of nesting that the pass follows.
pub(super) const DEPTH_MAX: usize = 20_000;

/// A function's code.
#[derive(Debug)]
pub(super) struct Code<'a> {
    /// Types of parameters, then of declared locals.
    pub(super) locals: Vec<ValType>,
    /// How many of them are parameters.
    pub(super) parameters: usize,
    /// Types of results.
    pub(super) results: Vec<ValType>,
    /// What is executed.
    pub(super) body: Vec<Node<'a>>,
}

/// One step.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// An instruction that cannot reach a switch point.
    Plain(Operator<'a>),
    /// A call that can.
    Site(Box<Site<'a>>),
    /// A construct with a body.
    Block(Box<Block<'a>>),
}

/// A call behind which a frame may be taken.
#[derive(Debug)]
pub(super) struct Site<'a> {
    /// The call.
    pub(super) call: Operator<'a>,
    /// Its number in the function, from 1; 0 for one during which the stack cannot be taken.
    pub(super) number: u32,
    /// Operands of the same body that wait under the arguments.
    pub(super) under: Vec<ValType>,
    /// Arguments; for an indirect call the table index comes last.
    pub(super) arguments: Vec<ValType>,
    /// The last so many arguments must be the same when the call is made again.
    pub(super) kept: usize,
    /// Results.
    pub(super) results: Vec<ValType>,
    /// Locals that are read afterwards.
    pub(super) live: Vec<u32>,
}

/// What opens a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Block,
    Loop,
    If,
    TryTable,
}

/// `block`, `loop`, `if` or `try_table`.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) kind: Kind,
    /// The instruction that opens it.
    pub(super) opening: Operator<'a>,
    /// Operands of the enclosing body that wait under the parameters.
    pub(super) under: Vec<ValType>,
    pub(super) parameters: Vec<ValType>,
    pub(super) results: Vec<ValType>,
    pub(super) body: Vec<Node<'a>>,
    /// Of an `if`.
    pub(super) otherwise: Option<Vec<Node<'a>>>,
    /// Numbers of the sites inside: from, up to and without.
    pub(super) sites: (u32, u32),
    /// Where those of `otherwise` start.
    pub(super) middle: u32,
    /// Of a loop: what was found live at its head, kept for the next look at it.
    pub(super) head: Vec<u64>,
}

/// Reads the code of a function while validating it.
pub(super) fn read<'a>(
    index: &Index,
    reach: &Reach,
    validator: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'a>,
    function: u32,
) -> Result<Code<'a>, UnwindError> {
    let ty = index.type_of(function)?;
    let mut locals = ty.params().to_vec();
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    for declared in body.get_locals_reader()? {
        let (count, ty) = declared?;
        locals.extend(std::iter::repeat_n(ty, count as usize));
    }
    let mut reader = Reader { index, reach, validator, function, open: vec![Open::default()] };
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        reader.step(operator, offset)?;
    }
    operators.finish()?;
    let body = reader.open.pop().map(|open| open.nodes).unwrap_or_default();
    Ok(Code { locals, parameters: ty.params().len(), results: ty.results().to_vec(), body })
}

struct Reader<'v, 'a> {
    index: &'v Index,
    reach: &'v Reach,
    validator: &'v mut FuncValidator<ValidatorResources>,
    function: u32,
    /// Bodies that are not closed yet, the function's own first.
    open: Vec<Open<'a>>,
}

/// A body that is being read.
#[derive(Default)]
struct Open<'a> {
    nodes: Vec<Node<'a>>,
    /// What it belongs to, unless it is the function's or dead.
    block: Option<Block<'a>>,
    /// Nothing gets here any more.
    dead: bool,
    /// `nodes` are those behind `else`.
    otherwise: bool,
}

impl<'a> Reader<'_, 'a> {
    fn step(&mut self, operator: Operator<'a>, offset: usize) -> Result<(), UnwindError> {
        let dead = self.open.last().is_some_and(|open| open.dead);
        // Before the instruction takes effect: its operands are on the stack.
        let node = if dead { None } else { self.describe(&operator)? };
        self.validator.op(offset, &operator)?;
        match &operator {
            Operator::End => self.close(),
            Operator::Else => self.turn(),
            _ => {
                if let Some(described) = node {
                    self.add(described);
                } else if opens(&operator).is_some() {
                    self.open.push(Open { dead: true, ..Open::default() });
                }
                if leaves(&operator)
                    && let Some(open) = self.open.last_mut()
                {
                    open.dead = true;
                }
            }
        }
        if self.open.len() > DEPTH_MAX {
            return Err(UnwindError::Depth { function: self.function, max: DEPTH_MAX });
        }
        Ok(())
    }

    fn describe(&self, operator: &Operator<'a>) -> Result<Option<Described<'a>>, UnwindError> {
        if matches!(operator, Operator::End | Operator::Else) {
            return Ok(None);
        }
        if let Some((what, remedy)) = unknown(operator) {
            return Err(UnwindError::Unsupported { function: self.function, what, remedy });
        }
        if let Some((kind, ty)) = opens(operator) {
            return self.block(kind, ty, operator).map(Some);
        }
        if self.reach.call(self.index, operator) {
            return self.site(operator).map(Some);
        }
        Ok(Some(Described::Node(Node::Plain(operator.clone()))))
    }

    fn block(
        &self,
        kind: Kind,
        ty: BlockType,
        operator: &Operator<'a>,
    ) -> Result<Described<'a>, UnwindError> {
        let (parameters, results) = match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(ty) => (Vec::new(), vec![ty]),
            BlockType::FuncType(ty) => {
                let ty = self.index.type_at(ty)?;
                (ty.params().to_vec(), ty.results().to_vec())
            }
        };
        let taken = parameters.len() + usize::from(kind == Kind::If);
        Ok(Described::Open(Block {
            kind,
            opening: operator.clone(),
            under: self.under(taken)?,
            parameters,
            results,
            body: Vec::new(),
            otherwise: None,
            sites: (0, 0),
            middle: 0,
            head: Vec::new(),
        }))
    }

    fn site(&self, operator: &Operator<'a>) -> Result<Described<'a>, UnwindError> {
        let (ty, kept, call) = match *operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                let import = function_index < self.index.imports();
                let ty = self.index.type_of(function_index)?;
                let kept = if import { ty.params().len() } else { 0 };
                (ty, kept, Operator::Call { function_index })
            }
            Operator::CallIndirect { type_index, table_index }
            | Operator::ReturnCallIndirect { type_index, table_index } => {
                // Whom it reaches, an import perhaps, is known only when it runs.
                let ty = self.index.type_at(type_index)?;
                let call = Operator::CallIndirect { type_index, table_index };
                (ty, ty.params().len() + 1, call)
            }
            _ => return Err(UnwindError::Malformed("a call of an unknown kind".into())),
        };
        let mut arguments = ty.params().to_vec();
        if matches!(call, Operator::CallIndirect { .. }) {
            arguments.push(ValType::I32);
        }
        let site = Site {
            under: self.under(arguments.len())?,
            call,
            number: 0,
            arguments,
            kept,
            results: ty.results().to_vec(),
            live: Vec::new(),
        };
        // A tail call gives its frame up and would be missing when the stack is built up again.
        let tail =
            matches!(operator, Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. });
        Ok(if tail {
            Described::Tail(Node::Site(Box::new(site)))
        } else {
            Described::Node(Node::Site(Box::new(site)))
        })
    }

    /// Types of the operands of this body, without the `taken` topmost.
    fn under(&self, taken: usize) -> Result<Vec<ValType>, UnwindError> {
        let base = self.validator.get_control_frame(0).map_or(0, |frame| frame.height);
        let height = self.validator.operand_stack_height() as usize;
        let count = height.saturating_sub(base).saturating_sub(taken);
        (0..count)
            .map(|at| self.validator.get_operand_type(height - 1 - (base + at)).flatten())
            .collect::<Option<Vec<ValType>>>()
            .ok_or_else(|| UnwindError::Malformed("an operand without a type".into()))
    }

    fn add(&mut self, described: Described<'a>) {
        let Some(open) = self.open.last_mut() else { return };
        match described {
            Described::Node(node) => open.nodes.push(node),
            Described::Tail(node) => {
                open.nodes.push(node);
                open.nodes.push(Node::Plain(Operator::Return));
            }
            Described::Open(block) => {
                self.open.push(Open { block: Some(block), ..Open::default() });
            }
        }
    }

    fn turn(&mut self) {
        if let Some(open) = self.open.last_mut()
            && let Some(block) = &mut open.block
        {
            block.body = std::mem::take(&mut open.nodes);
            open.otherwise = true;
            open.dead = false;
        }
    }

    fn close(&mut self) {
        // The function's own end leaves its nodes where they are.
        if self.open.len() < 2 {
            return;
        }
        if let Some(open) = self.open.pop()
            && let Some(mut block) = open.block
            && let Some(outer) = self.open.last_mut()
        {
            if open.otherwise {
                block.otherwise = Some(open.nodes);
            } else {
                block.body = open.nodes;
            }
            outer.nodes.push(Node::Block(Box::new(block)));
        }
    }
}

/// What an instruction becomes.
enum Described<'a> {
    Node(Node<'a>),
    /// A node, then the function returns.
    Tail(Node<'a>),
    Open(Block<'a>),
}

/// What `operator` opens, with its type.
fn opens(operator: &Operator<'_>) -> Option<(Kind, BlockType)> {
    Some(match operator {
        Operator::Block { blockty } => (Kind::Block, *blockty),
        Operator::Loop { blockty } => (Kind::Loop, *blockty),
        Operator::If { blockty } => (Kind::If, *blockty),
        Operator::TryTable { try_table } => (Kind::TryTable, try_table.ty),
        _ => return None,
    })
}

/// Whether nothing behind `operator` in its body is executed.
fn leaves(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Unreachable
            | Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
    )
}

/// What the pass cannot handle, with the remedy.
fn unknown(operator: &Operator<'_>) -> Option<(&'static str, &'static str)> {
    match operator {
        Operator::Try { .. }
        | Operator::Catch { .. }
        | Operator::CatchAll
        | Operator::Delegate { .. }
        | Operator::Rethrow { .. } => Some((
            "the older exception instructions",
            "compile it with -mllvm -wasm-use-legacy-eh=false, as faasm-c++ does",
        )),
        Operator::CallRef { .. }
        | Operator::ReturnCallRef { .. }
        | Operator::BrOnNull { .. }
        | Operator::BrOnNonNull { .. }
        | Operator::BrOnCast { .. }
        | Operator::BrOnCastFail { .. } => Some((
            "typed function references or garbage-collected types",
            "compile it from C, C++, Fortran or Rust",
        )),
        _ => None,
    }
}
