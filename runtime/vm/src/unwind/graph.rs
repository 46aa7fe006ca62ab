//! Which functions can reach a switch point.

use wasmparser::{FunctionBody, Operator};

use super::{UnwindError, index::Index};

/// For every function, and for every type of indirect calls, whether a switch point can be reached.
#[derive(Debug)]
pub(super) struct Reach {
    functions: Vec<bool>,
    types: Vec<bool>,
}

/// A vertex: a function, the indirect calls of a type, or those among them that type information makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Vertex {
    Function(u32),
    Type(u32),
    Information(u32),
}

impl Reach {
    /// Follows calls backwards from the switch points.
    pub(super) fn new(index: &Index, bodies: &[FunctionBody<'_>]) -> Result<Self, UnwindError> {
        let mut callers = Callers::new(index);
        for (body, function) in bodies.iter().zip(index.imports()..) {
            callers.read(index, function, body)?;
        }
        for &function in &index.addressed {
            callers.address(index, function)?;
        }
        Ok(callers.follow(index))
    }

    /// Whether `function` can reach a switch point, or is one.
    pub(super) fn function(&self, function: u32) -> bool {
        self.functions.get(function as usize).copied().unwrap_or(false)
    }

    /// Whether an indirect call of type `ty` can.
    pub(super) fn indirect(&self, index: &Index, ty: u32) -> bool {
        self.types.get(index.canonical(ty) as usize).copied().unwrap_or(false)
    }

    /// Whether the call `operator` can.
    pub(super) fn call(&self, index: &Index, operator: &Operator<'_>) -> bool {
        match *operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                self.function(function_index) && !index.is_end(function_index)
            }
            Operator::CallIndirect { type_index, .. }
            | Operator::ReturnCallIndirect { type_index, .. } => self.indirect(index, type_index),
            _ => false,
        }
    }
}

/// Edges from the called to their callers.
struct Callers {
    functions: Vec<Vec<Vertex>>,
    types: Vec<Vec<Vertex>>,
    information: Vec<Vec<Vertex>>,
}

impl Callers {
    fn new(index: &Index) -> Self {
        Self {
            functions: vec![Vec::new(); index.functions() as usize],
            types: vec![Vec::new(); index.types() as usize],
            information: vec![Vec::new(); index.types() as usize],
        }
    }

    fn read(
        &mut self,
        index: &Index,
        caller: u32,
        body: &FunctionBody<'_>,
    ) -> Result<(), UnwindError> {
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Call { function_index } | Operator::ReturnCall { function_index }
                    if index.is_end(function_index) => {}
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    self.edge(Vertex::Function(function_index), Vertex::Function(caller));
                }
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. } => {
                    let ty = index.canonical(type_index);
                    let called = match index.is_type_information(caller) {
                        true => Vertex::Information(ty),
                        false => Vertex::Type(ty),
                    };
                    self.edge(called, Vertex::Function(caller));
                }
                Operator::RefFunc { function_index } => self.address(index, function_index)?,
                Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. } => {
                    return Err(UnwindError::Unsupported {
                        function: caller,
                        what: "instructions that change a table of functions",
                        remedy: "link it statically",
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `function`'s address is taken: calls of its type may reach it.
    fn address(&mut self, index: &Index, function: u32) -> Result<(), UnwindError> {
        let ty = index.canonical(index.type_index(function)?);
        self.edge(Vertex::Function(function), Vertex::Type(ty));
        if index.is_type_information(function) {
            self.edge(Vertex::Function(function), Vertex::Information(ty));
        }
        Ok(())
    }

    fn edge(&mut self, called: Vertex, caller: Vertex) {
        let callers = match called {
            Vertex::Function(function) => self.functions.get_mut(function as usize),
            Vertex::Type(ty) => self.types.get_mut(ty as usize),
            Vertex::Information(ty) => self.information.get_mut(ty as usize),
        };
        if let Some(callers) = callers
            && callers.last() != Some(&caller)
        {
            callers.push(caller);
        }
    }

    fn follow(&self, index: &Index) -> Reach {
        let mut reach = Reach {
            functions: vec![false; self.functions.len()],
            types: vec![false; self.types.len()],
        };
        let mut information = vec![false; self.information.len()];
        let mut todo: Vec<Vertex> = (0..index.imports())
            .filter(|&import| index.switch[import as usize])
            .map(Vertex::Function)
            .collect();
        while let Some(vertex) = todo.pop() {
            let (seen, callers) = match vertex {
                Vertex::Function(function) => {
                    let at = function as usize;
                    (&mut reach.functions[at], &self.functions[at])
                }
                Vertex::Type(ty) => (&mut reach.types[ty as usize], &self.types[ty as usize]),
                Vertex::Information(ty) => {
                    (&mut information[ty as usize], &self.information[ty as usize])
                }
            };
            if !std::mem::replace(seen, true) {
                todo.extend(callers);
            }
        }
        reach
    }
}
