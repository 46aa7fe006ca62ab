//! Whether somebody who waits for conditions of their own has left, and was woken: one word.

use crate::atomic::{AtomicU8, Ordering};

/// Nobody has called, and the owner does not wait.
const EMPTY: u8 = 0;
/// The owner has left.
const PARKED: u8 = 1;
/// It was woken since it last looked.
const WOKEN: u8 = 2;

/// See the module's documentation. One thread owns it; any may wake.
///
/// What is waited for is published before [`Token::wake`] and looked at before each [`Token::park`]. Whoever changes the word
/// exchanges it: a mere store could still be on its way when its owner looks, which would then see nothing of what was
/// published before the wake-up that the store overwrote.
#[derive(Debug)]
pub(crate) struct Token(AtomicU8);

impl Token {
    /// Of somebody who does not wait.
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(EMPTY))
    }

    /// Lets the owner look once more. Whether it has left and somebody must let it run.
    #[inline]
    #[must_use]
    pub(crate) fn wake(&self) -> bool {
        self.0.swap(WOKEN, Ordering::AcqRel) == PARKED
    }

    /// The owner leaves, unless it was woken since it last looked: then it is to look again.
    #[must_use]
    pub(crate) fn park(&self) -> bool {
        match self.0.compare_exchange(EMPTY, PARKED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(PARKED) => true,
            Err(_) => {
                self.clear();
                false
            }
        }
    }

    /// The owner's wait is over: a wake-up that has come was for it.
    pub(crate) fn clear(&self) {
        self.0.swap(EMPTY, Ordering::AcqRel);
    }

    /// Whether the owner has left and nobody has woken it.
    pub(crate) fn is_parked(&self) -> bool {
        self.0.load(Ordering::Acquire) == PARKED
    }
}
