//! Atomic operations by the numbers that their instructions have.

/// What an atomic instruction does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Atomic {
    action: Action,
    /// Bytes of memory that it touches.
    pub bytes: u8,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    Load,
    Store,
    Add,
    Sub,
    And,
    Or,
    Xor,
    Exchange,
    CompareExchange,
}

const ACTIONS: [Action; 9] = [
    Action::Load,
    Action::Store,
    Action::Add,
    Action::Sub,
    Action::And,
    Action::Or,
    Action::Xor,
    Action::Exchange,
    Action::CompareExchange,
];

/// Bytes of the seven forms of each action: i32, i64, then the narrow ones of both.
const WIDTHS: [u8; 7] = [4, 8, 1, 2, 1, 2, 4];

/// Number of the first of these instructions, behind the prefix of atomics.
const FIRST: u8 = 0x10;

impl Atomic {
    /// The operation with this number; `None` where there is no such.
    pub fn from_number(number: u8) -> Option<Self> {
        let index = usize::from(number.checked_sub(FIRST)?);
        let action = *ACTIONS.get(index / WIDTHS.len())?;
        Some(Self { action, bytes: WIDTHS[index % WIDTHS.len()] })
    }

    /// What the operand in memory becomes when it was `old`; `None` if it stays as it is.
    pub fn apply(self, old: u64, first: u64, second: u64) -> Option<u64> {
        let new = match self.action {
            Action::Load => return None,
            Action::Store | Action::Exchange => first,
            Action::Add => old.wrapping_add(first),
            Action::Sub => old.wrapping_sub(first),
            Action::And => old & first,
            Action::Or => old | first,
            Action::Xor => old ^ first,
            // The whole expected value is compared, though only a part of it may fit.
            Action::CompareExchange if old == first => second,
            Action::CompareExchange => return None,
        };
        Some(self.fit(new))
    }

    /// As much of a number as the operand in memory holds.
    pub const fn fit(self, number: u64) -> u64 {
        number & (u64::MAX >> (64 - 8 * self.bytes as u32))
    }
}
