//! What nodes ask the home, and what it answers.
//!
//! ```text
//! request   acknowledged u64 | kind u8 | five numbers u64 | delta
//! reply     order u64 | kind u8 | two numbers u64 | text or delta
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::delta::Delta;

/// What a thread wants of the home.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// The next parallel region; all of the node's threads are done with the last one.
    Next,
    /// The other nodes are to begin a region.
    Fork {
        /// Address of its description.
        region: u32,
    },
    /// The other nodes' threads have to be done with the region.
    Join,
    /// All nodes' threads have to come to a barrier.
    Barrier,
    /// To hold the lock at an address, when it is free.
    Lock {
        /// Where the lock is.
        address: u32,
    },
    /// To hold the lock at an address, if it is free.
    TryLock {
        /// Where the lock is.
        address: u32,
    },
    /// To hold a lock no longer.
    Unlock {
        /// Where the lock is.
        address: u32,
    },
    /// To see what others have made known, and to make own changes known.
    Flush,
    /// Some iterations of a loop.
    Chunk(ChunkOrder),
    /// An iteration's turn in the ordered part of a loop.
    Turn {
        /// The loop's number in its region.
        number: u32,
        /// The iteration.
        iteration: u64,
    },
    /// The turn goes to the next iteration of the loop, which has `count` of them.
    Pass {
        /// The loop's number in its region.
        number: u32,
        /// Number of iterations.
        count: u64,
    },
    /// An atomic operation on the home's memory.
    Atomic {
        /// The number of the operation, as its instruction has it.
        operation: u8,
        /// Address of the operand in memory.
        address: u32,
        /// First operand.
        first: u64,
        /// Second operand.
        second: u64,
    },
}

/// Iterations of a loop that are wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChunkOrder {
    /// The loop's number in its region.
    pub number: u32,
    /// Whether chunks become smaller; 2 if they are whole multiples of `chunk`.
    pub guided: u8,
    /// Number of iterations of the loop.
    pub count: u64,
    /// Iterations of a chunk, or fewest of one.
    pub chunk: u64,
    /// Threads of the team.
    pub threads: u32,
}

/// A question to the home.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Order of the last reply that has gone into the node's memory.
    pub acknowledged: u64,
    /// What is wanted.
    pub wanted: Wanted,
    /// What the node's threads have changed.
    pub delta: Delta,
}

/// What has become of a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Go on.
    Go,
    /// The lock is held by another thread.
    Busy,
    /// Begin a region.
    Region {
        /// Address of its description.
        region: u32,
    },
    /// Iterations of a loop; none if `len` is 0.
    Chunk {
        /// The first one.
        first: u64,
        /// How many.
        len: u64,
    },
    /// What an atomic operation gives.
    Value(u64),
    /// It cannot be; the program ends.
    Refused(String),
}

/// An answer of the home.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Its place among all replies to the node that bring changes.
    pub order: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// What others have changed.
    pub delta: Delta,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WireError;

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message about a team that spans nodes came damaged")
    }
}

impl core::error::Error for WireError {}

/// Longest text of a refusal.
const TEXT_BYTES_MAX: usize = 2_048;

impl Request {
    /// It as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.delta.as_bytes().len());
        out.extend_from_slice(&self.acknowledged.to_le_bytes());
        let (kind, numbers): (u8, [u64; 5]) = match self.wanted {
            Wanted::Next => (0, [0; 5]),
            Wanted::Fork { region } => (1, [region.into(), 0, 0, 0, 0]),
            Wanted::Join => (2, [0; 5]),
            Wanted::Barrier => (3, [0; 5]),
            Wanted::Lock { address } => (4, [address.into(), 0, 0, 0, 0]),
            Wanted::TryLock { address } => (5, [address.into(), 0, 0, 0, 0]),
            Wanted::Unlock { address } => (6, [address.into(), 0, 0, 0, 0]),
            Wanted::Flush => (7, [0; 5]),
            Wanted::Chunk(ChunkOrder { number, guided, count, chunk, threads }) => {
                (8, [number.into(), guided.into(), count, chunk, threads.into()])
            }
            Wanted::Turn { number, iteration } => (9, [number.into(), iteration, 0, 0, 0]),
            Wanted::Pass { number, count } => (10, [number.into(), count, 0, 0, 0]),
            Wanted::Atomic { operation, address, first, second } => {
                (11, [operation.into(), address.into(), first, second, 0])
            }
        };
        put(&mut out, kind, &numbers);
        out.extend_from_slice(self.delta.as_bytes());
        out
    }

    /// What `bytes` say.
    ///
    /// # Errors
    /// They are no request.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader(bytes);
        let acknowledged = reader.u64()?;
        let (kind, [a, b, c, d, e]) = (reader.u8()?, reader.numbers()?);
        let number = word(a)?;
        let wanted = match kind {
            0 => Wanted::Next,
            1 => Wanted::Fork { region: number },
            2 => Wanted::Join,
            3 => Wanted::Barrier,
            4 => Wanted::Lock { address: number },
            5 => Wanted::TryLock { address: number },
            6 => Wanted::Unlock { address: number },
            7 => Wanted::Flush,
            8 => Wanted::Chunk(ChunkOrder {
                number,
                guided: u8::try_from(b).map_err(|_| WireError)?,
                count: c,
                chunk: d,
                threads: word(e)?,
            }),
            9 => Wanted::Turn { number, iteration: b },
            10 => Wanted::Pass { number, count: b },
            11 => Wanted::Atomic {
                operation: u8::try_from(a).map_err(|_| WireError)?,
                address: word(b)?,
                first: c,
                second: d,
            },
            _ => return Err(WireError),
        };
        let delta = Delta::from_bytes(reader.0.to_vec()).map_err(|_| WireError)?;
        Ok(Self { acknowledged, wanted, delta })
    }
}

impl Reply {
    /// It as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.delta.as_bytes().len());
        out.extend_from_slice(&self.order.to_le_bytes());
        let (kind, numbers): (u8, [u64; 2]) = match &self.outcome {
            Outcome::Go => (0, [0; 2]),
            Outcome::Busy => (1, [0; 2]),
            Outcome::Region { region } => (2, [u64::from(*region), 0]),
            Outcome::Chunk { first, len } => (3, [*first, *len]),
            Outcome::Value(value) => (4, [*value, 0]),
            Outcome::Refused(_) => (5, [0; 2]),
        };
        put(&mut out, kind, &numbers);
        match &self.outcome {
            Outcome::Refused(text) => out.extend(text.bytes().take(TEXT_BYTES_MAX)),
            _ => out.extend_from_slice(self.delta.as_bytes()),
        }
        out
    }

    /// What `bytes` say.
    ///
    /// # Errors
    /// They are no reply.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader(bytes);
        let order = reader.u64()?;
        let (kind, [a, b]) = (reader.u8()?, reader.numbers()?);
        let outcome = match kind {
            0 => Outcome::Go,
            1 => Outcome::Busy,
            2 => Outcome::Region { region: word(a)? },
            3 => Outcome::Chunk { first: a, len: b },
            4 => Outcome::Value(a),
            5 => {
                let text = String::from_utf8_lossy(&reader.0[..reader.0.len().min(TEXT_BYTES_MAX)]);
                let outcome = Outcome::Refused(text.chars().filter(|c| !c.is_control()).collect());
                return Ok(Self { order, outcome, delta: Delta::default() });
            }
            _ => return Err(WireError),
        };
        let delta = Delta::from_bytes(reader.0.to_vec()).map_err(|_| WireError)?;
        Ok(Self { order, outcome, delta })
    }
}

fn put(out: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    out.push(kind);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

fn word(number: u64) -> Result<u32, WireError> {
    u32::try_from(number).map_err(|_| WireError)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(WireError)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.take().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_le_bytes)
    }

    fn numbers<const N: usize>(&mut self) -> Result<[u64; N], WireError> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.u64()?;
        }
        Ok(numbers)
    }
}
