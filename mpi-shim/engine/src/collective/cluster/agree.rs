//! Whether all members on all nodes called the same function with arguments that fit together.
//!
//! The errors are those of a communicator inside one node, in the same order; every node looks at
//! the same heads and finds the same one.

use alloc::format;
use alloc::string::String;

use super::head::{Element, Function, Groups, Head, NO_OPERAND, Wrong};
use super::wire::malformed;
use crate::collective::check::{different_functions, is_between_groups};
use crate::collective::contribution::{Kind, Operator};
use crate::collective::intercomm::reduction::{Direction, both};
use crate::error::{ErrorClass, MpiError, Result};

/// The same as [`agree`] where one look at each node is enough: nothing unless the members of all nodes called
/// alike, and nothing is wrong with that.
pub(super) fn agree_at_once<'a>(
    mut nodes: impl Iterator<Item = &'a Groups>,
    members: usize,
) -> Option<Result<()>> {
    let [(_, first)] = nodes.next()?.as_slice() else { return None };
    let is_alone = first.function != Function::Collective(Kind::Across) && first.wrong.is_none();
    let alike = |groups: &Groups| matches!(groups.as_slice(), [(_, head)] if head == first);
    (is_alone && nodes.all(alike)).then(|| agree_alone(first, members))
}

/// Compares the heads of all members, in rank order.
///
/// # Errors
/// The error with which the call fails at all members.
pub(super) fn agree(heads: &[&Head]) -> Result<()> {
    let Some(first) = heads.first() else { return Ok(()) };
    let is_across = first.function == Function::Collective(Kind::Across);
    if !is_across && heads.iter().all(|head| head == first) && first.wrong.is_none() {
        return agree_alone(first, heads.len());
    }
    for (rank, other) in heads.iter().enumerate() {
        same_call(first, other, rank)?;
        if let Some(Wrong::Arguments(error)) = &other.wrong {
            return Err(own_error(&other.function, error, rank));
        }
    }
    if is_across {
        agree_across(heads)?;
    } else {
        agree_alone(first, heads.len())?;
        for (rank, other) in heads.iter().enumerate() {
            fits(first, other, rank)?;
        }
    }
    match heads.iter().find_map(|head| head.wrong.as_ref()) {
        Some(Wrong::Arguments(error) | Wrong::Memory(error)) => Err(error.clone()),
        None => Ok(()),
    }
}

/// Whether these heads of one node, if all others are like them, do not fail the call.
pub(super) fn agree_locally(heads: &[&Head]) -> bool {
    let Some(first) = heads.first() else { return false };
    let agrees = |other: &&Head| {
        other.wrong.is_none() && same_call(first, other, 0).is_ok() && fits(first, other, 0).is_ok()
    };
    heads.iter().all(agrees)
}

/// A reduction across groups: the operands of each direction, and the results that are wanted.
fn agree_across(heads: &[&Head]) -> Result<()> {
    let low = heads[0].low();
    if low > heads.len() || heads.iter().any(|head| head.low() != low) {
        return Err(malformed());
    }
    for Direction { inputs, outputs } in both(low, heads.len()) {
        let mut wanting = outputs.filter(|at| heads[*at].wants()).peekable();
        let (Some(first), true) = (heads.get(inputs.start), wanting.peek().is_some()) else {
            continue;
        };
        for rank in inputs.clone() {
            if heads[rank].count == NO_OPERAND {
                let detail = format!("rank {rank} has no buffer");
                return Err(MpiError::new(ErrorClass::Buffer, detail));
            }
            permitted(heads[rank])?;
            same_operands(first, heads[rank], rank)?;
        }
        for rank in wanting {
            same_element(first, heads[rank], rank)?;
            let elements = first.count.unsigned_abs();
            crate::collective::reduction::fits(elements, rank, heads[rank].end(), 0)?;
        }
    }
    Ok(())
}

/// What can be wrong when all members passed the same.
fn agree_alone(head: &Head, members: usize) -> Result<()> {
    let Function::Collective(kind) = head.function else { return Ok(()) };
    if kind.is_rooted() && head.root as usize >= members {
        let detail = format!("{} is not a rank of the communicator", head.root);
        return Err(MpiError::argument(ErrorClass::Root, "root", detail));
    }
    permitted(head)
}

/// The operator is defined on the type.
fn permitted(head: &Head) -> Result<()> {
    let Some(Operator::Predefined(op)) = head.op else { return Ok(()) };
    match head.element {
        Element::Predefined(predefined) => op.reduction(&predefined.into()).map(|_| ()),
        Element::Derived(_) | Element::None => {
            let detail = format!("{} is not defined on derived datatypes", op.name());
            Err(MpiError::argument(ErrorClass::Op, "op", detail))
        }
    }
}

fn same_call(first: &Head, other: &Head, rank: usize) -> Result<()> {
    if other.function != first.function {
        let (ours, theirs) = (first.function.name(), other.function.name());
        let detail = format!("rank 0 called {ours} but rank {rank} called {theirs}");
        return Err(MpiError::new(ErrorClass::NotSame, detail));
    }
    let Function::Collective(kind) = first.function else { return Ok(()) };
    let name = kind.name();
    if is_between_groups(kind) && other.root != first.root {
        return Err(different_functions(rank));
    }
    if kind.is_rooted() && other.root != first.root {
        let (ours, theirs) = (first.root, other.root);
        let detail = format!("in {name} rank 0 passed {ours} but rank {rank} passed {theirs}");
        return Err(MpiError::argument(ErrorClass::Root, "root", detail));
    }
    if kind.is_reduction() && !same_operator(first.op, other.op) {
        let detail = format!("in {name} rank 0 and rank {rank} passed different operators or none");
        return Err(MpiError::argument(ErrorClass::Op, "op", detail));
    }
    Ok(())
}

fn same_operator(a: Option<Operator>, b: Option<Operator>) -> bool {
    match (a, b) {
        (Some(Operator::User { .. }), Some(Operator::User { .. })) => true,
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

fn own_error(function: &Function, error: &MpiError, rank: usize) -> MpiError {
    match function {
        Function::Collective(_) => error.clone(),
        Function::Other(name) => {
            let detail = format!("rank {rank} failed in {name}: {error}");
            MpiError { argument: None, detail, ..error.clone() }
        }
    }
}

/// Types and counts of operations in which they must be the same everywhere.
fn fits(first: &Head, other: &Head, rank: usize) -> Result<()> {
    let Function::Collective(kind) = first.function else { return Ok(()) };
    if matches!(kind, Kind::Alltoall | Kind::Alltoallv | Kind::Alltoallw)
        && first.in_place != other.in_place
    {
        let (with, without) = if first.in_place { (0, rank) } else { (rank, 0) };
        let detail = format!("rank {with} passed MPI_IN_PLACE but rank {without} did not");
        return Err(MpiError::argument(ErrorClass::NotSame, "sendbuf", detail));
    }
    if !kind.is_reduction() || kind == Kind::Across {
        return Ok(());
    }
    if other.counts != first.counts {
        let detail = format!("rank 0 and rank {rank} passed different receive counts");
        return Err(MpiError::argument(ErrorClass::NotSame, "recvcounts", detail));
    }
    permitted(other)?;
    same_operands(first, other, rank)
}

fn same_operands(first: &Head, other: &Head, rank: usize) -> Result<()> {
    same_element(first, other, rank)?;
    if other.count != first.count {
        let detail =
            format!("rank 0 passed {} but rank {rank} passed {}", first.count, other.count);
        return Err(MpiError::argument(ErrorClass::Count, "count", detail));
    }
    Ok(())
}

fn same_element(first: &Head, other: &Head, rank: usize) -> Result<()> {
    let user = matches!(first.op, Some(Operator::User { .. }));
    let same_type = match (first.element, other.element) {
        (Element::Predefined(a), Element::Predefined(b)) if !user => a.kind() == b.kind(),
        (a, b) => a.size() == b.size(),
    };
    if !same_type {
        let (ours, theirs) = (described(first.element), described(other.element));
        let detail = format!("rank 0 passed {ours} but rank {rank} passed {theirs}");
        let (class, argument) = match user {
            true => (ErrorClass::Count, "count"),
            false => (ErrorClass::Type, "datatype"),
        };
        return Err(MpiError::argument(class, argument, detail));
    }
    Ok(())
}

fn described(element: Element) -> String {
    match element {
        Element::Predefined(predefined) => String::from(predefined.name()),
        Element::Derived(size) => format!("a derived type of {size} bytes"),
        Element::None => String::from("none"),
    }
}
