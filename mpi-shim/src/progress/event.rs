//! Noting events for tools (MPI-5.0 section 15.3.8); while nobody has registered for any, each costs a look.

use crate::ctx::{Arrived, MpiCtx};
use crate::port::{Header, MpiPort};
use crate::tool::{EventType, Happened};

/// Ticks of the source of events, a second.
pub(crate) const TICKS_PER_SECOND: i64 = 1_000_000_000;

impl<P: MpiPort> MpiCtx<P> {
    /// The time of the source of events.
    pub(crate) fn ticks(&self) -> i64 {
        (self.wtime() * TICKS_PER_SECOND as f64) as i64
    }

    /// Something has happened to a message of the program.
    #[inline]
    pub(crate) fn note_message(&mut self, what: EventType, arrived: &Arrived) {
        if self.tool.events.are_wanted() {
            self.note_wanted_message(what, &arrived.header, arrived.payload.len());
        }
    }

    /// The same when somebody has registered for events.
    #[cold]
    pub(super) fn note_wanted_message(&mut self, what: EventType, header: &Header, len: u64) {
        // Others are messages of MPI itself.
        if let (Ok(source), Ok(tag)) = (u64::try_from(header.source), u64::try_from(header.tag)) {
            let elements = [source, tag, len];
            let happened = Happened { what, elements, timestamp: self.ticks() };
            self.tool.events.note(header.context, happened);
        }
    }

    /// This process has become a member of a communicator.
    pub(crate) fn note_communicator(&mut self, context: u32, rank: u32, size: u32) {
        if self.tool.events.are_wanted() {
            let what = EventType::CommunicatorMade;
            let elements = [rank.into(), size.into(), 0];
            let happened = Happened { what, elements, timestamp: self.ticks() };
            self.tool.events.note(context, happened);
        }
    }
}
