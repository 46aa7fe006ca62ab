//! What a rank keeps of events (MPI-5.0 section 15.3.8): who wants to hear of which, and those not told yet.

use std::collections::{BTreeMap, VecDeque};

use faasm_mpi_engine::datatype::Predefined;

use crate::abi;

/// Events of a rank that wait to be told; what happens beyond that is dropped, and counted.
pub(crate) const EVENTS_MAX: usize = 4096;

/// The event types, in the order of their indices.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum EventType {
    /// A message has come that no receive matches yet.
    MessageUnexpected,
    /// A receive and its message have found each other.
    ReceiveMatched,
    /// The rank is a member of a new communicator.
    CommunicatorMade,
}

impl EventType {
    /// All of them.
    pub(crate) const ALL: [Self; 3] =
        [Self::MessageUnexpected, Self::ReceiveMatched, Self::CommunicatorMade];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MessageUnexpected => "message_unexpected",
            Self::ReceiveMatched => "receive_matched",
            Self::CommunicatorMade => "communicator_made",
        }
    }

    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::MessageUnexpected => {
                "a message has arrived that no receive matches: its source, tag and bytes"
            }
            Self::ReceiveMatched => {
                "a receive and its message have found each other: source, tag and bytes of the message"
            }
            Self::CommunicatorMade => {
                "this process is a member of a new communicator: its rank there, and the size"
            }
        }
    }

    /// What an event of this type is about: one communicator, or nothing.
    pub(crate) const fn bind(self) -> i32 {
        match self {
            Self::MessageUnexpected | Self::ReceiveMatched => abi::MPI_T_BIND_MPI_COMM,
            Self::CommunicatorMade => abi::MPI_T_BIND_NO_OBJECT,
        }
    }

    /// Types of its elements and their places in a buffer.
    pub(crate) const fn elements(self) -> &'static [(Predefined, u64)] {
        match self {
            Self::MessageUnexpected | Self::ReceiveMatched => {
                &[(Predefined::Int, 0), (Predefined::Int, 4), (Predefined::UnsignedLongLong, 8)]
            }
            Self::CommunicatorMade => &[(Predefined::Int, 0), (Predefined::Int, 4)],
        }
    }
}

/// Something that has happened.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Happened {
    pub(crate) what: EventType,
    /// Values of its elements, as many as its type has.
    pub(crate) elements: [u64; 3],
    /// When, in ticks of the source.
    pub(crate) timestamp: i64,
}

/// A callback of the program: index of its function, and what it is called with.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Callback {
    pub(crate) function: u32,
    pub(crate) user_data: i32,
}

/// Somebody who wants to hear of events.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Registration {
    what: EventType,
    /// Only events of the communicator with this context.
    context: Option<u32>,
    /// What is called, by what it may do: the level of safety in [`LEVELS`].
    pub(crate) callbacks: [Option<Callback>; LEVELS.len()],
    /// What is called when events were dropped, or 0.
    pub(crate) dropped: u32,
    /// Events dropped since that was told last.
    lost: i64,
}

/// Levels of safety, from that at which a callback may do anything. Section 15.3.8.
pub(crate) const LEVELS: [i32; 4] = [
    abi::MPI_T_CB_REQUIRE_NONE,
    abi::MPI_T_CB_REQUIRE_MPI_RESTRICTED,
    abi::MPI_T_CB_REQUIRE_THREAD_SAFE,
    abi::MPI_T_CB_REQUIRE_ASYNC_SIGNAL_SAFE,
];

/// A call of the program's function that is due.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// For an event, which has this number meanwhile.
    Event { registration: i32, callback: Callback, instance: i32 },
    /// For events that were dropped.
    Dropped { registration: i32, function: u32, user_data: i32, count: i64 },
}

/// The events of a rank.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Events {
    registrations: BTreeMap<i32, Registration>,
    waiting: VecDeque<(i32, Happened)>,
    /// The event that a callback is told, by its number.
    told: Option<(i32, Happened)>,
    instances: i32,
}

impl Events {
    /// Whether anybody wants to hear of anything.
    #[inline]
    pub(crate) fn are_wanted(&self) -> bool {
        !self.registrations.is_empty()
    }

    /// Whether somebody may have to be called.
    #[inline]
    pub(crate) fn are_due(&self) -> bool {
        !self.waiting.is_empty() && self.told.is_none()
    }

    pub(crate) fn register(&mut self, number: i32, what: EventType, context: Option<u32>) {
        let (callbacks, dropped, lost) = ([None; LEVELS.len()], 0, 0);
        let new = Registration { what, context, callbacks, dropped, lost };
        self.registrations.insert(number, new);
    }

    pub(crate) fn registration(&mut self, number: i32) -> Option<&mut Registration> {
        self.registrations.get_mut(&number)
    }

    /// Ends a registration; what it was not told is forgotten.
    pub(crate) fn remove(&mut self, number: i32) -> Option<Registration> {
        self.waiting.retain(|(registration, _)| *registration != number);
        self.registrations.remove(&number)
    }

    /// The event that a callback is told now.
    pub(crate) fn instance(&self, number: i32) -> Option<&Happened> {
        self.told.as_ref().filter(|told| told.0 == number).map(|told| &told.1)
    }

    /// Something has happened, in the communicator with this context.
    pub(crate) fn note(&mut self, context: u32, happened: Happened) {
        let Self { registrations, waiting, .. } = self;
        for (number, one) in registrations {
            let is_wanted = one.what == happened.what
                && one.context.is_none_or(|own| own == context)
                && one.callbacks.iter().any(Option::is_some);
            if is_wanted && waiting.len() < EVENTS_MAX {
                waiting.push_back((*number, happened));
            } else if is_wanted {
                one.lost += 1;
            }
        }
    }

    /// The next call that may be made where functions of this level of safety are needed; to be [ended](Events::end) after
    /// it.
    pub(crate) fn next(&mut self, level: usize) -> Option<Due> {
        if self.told.is_some() {
            return None;
        }
        if let Some(dropped) = self.next_dropped(level) {
            return Some(dropped);
        }
        let callback = |number: i32| {
            let registration = self.registrations.get(&number)?;
            registration.callbacks[level..].iter().flatten().next().copied()
        };
        // Those of one registration are told in their order.
        let found = self.waiting.iter().position(|(number, _)| callback(*number).is_some())?;
        let callback = callback(self.waiting[found].0)?;
        let (registration, happened) = self.waiting.remove(found)?;
        self.instances = self.instances.checked_add(1).unwrap_or(1);
        self.told = Some((self.instances, happened));
        Some(Due::Event { registration, callback, instance: self.instances })
    }

    fn next_dropped(&mut self, level: usize) -> Option<Due> {
        let is_told = |one: &Registration| {
            one.lost > 0 && one.dropped != 0 && one.callbacks[level..].iter().any(Option::is_some)
        };
        let (number, one) = self.registrations.iter_mut().find(|(_, one)| is_told(one))?;
        let user_data = one.callbacks.iter().flatten().next().map_or(0, |own| own.user_data);
        let count = std::mem::take(&mut one.lost);
        Some(Due::Dropped { registration: *number, function: one.dropped, user_data, count })
    }

    /// The callback has returned.
    pub(crate) fn end(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u64) -> Happened {
        let what = EventType::MessageUnexpected;
        Happened { what, elements: [0, tag, 8], timestamp: tag as i64 }
    }

    fn watched(context: Option<u32>, levels: &[usize]) -> Events {
        let mut events = Events::default();
        events.register(20, EventType::MessageUnexpected, context);
        let own = events.registration(20).expect("just made");
        for level in levels {
            let function = *level as u32 + 100;
            own.callbacks[*level] = Some(Callback { function, user_data: 7 });
        }
        events
    }

    fn told(events: &mut Events, level: usize) -> Option<(u32, u64)> {
        let Due::Event { callback, instance, .. } = events.next(level)? else { return None };
        assert!(events.next(level).is_none(), "one at a time");
        let tag = events.instance(instance).expect("it is told").elements[1];
        events.end();
        assert!(events.instance(instance).is_none());
        Some((callback.function, tag))
    }

    #[test]
    fn events_are_told_in_order_to_callbacks_that_are_safe_enough() {
        let mut events = watched(Some(4), &[0, 2]);
        assert!(events.are_wanted() && !events.are_due());
        events.note(4, message(1));
        assert!(events.are_due());
        events.note(5, message(2));
        events.note(4, message(3));
        let made = Happened { what: EventType::CommunicatorMade, ..message(9) };
        events.note(4, made);
        assert_eq!(told(&mut events, 1), Some((102, 1)), "the next safer one");
        assert_eq!(told(&mut events, 0), Some((100, 3)));
        assert_eq!(told(&mut events, 0), None);
        events.note(4, message(4));
        assert_eq!(told(&mut events, 3), None, "none is as safe");
        assert!(events.remove(20).is_some() && !events.are_wanted());
        assert_eq!(told(&mut events, 0), None);
    }

    #[test]
    fn what_cannot_be_kept_is_counted() {
        let mut events = watched(None, &[1]);
        events.registration(20).expect("it is there").dropped = 300;
        (0..EVENTS_MAX as u64 + 3).for_each(|tag| events.note(1, message(tag)));
        let dropped = Due::Dropped { registration: 20, function: 300, user_data: 7, count: 3 };
        assert_eq!(events.next(0), Some(dropped));
        assert_eq!(told(&mut events, 0), Some((101, 0)));
        assert_eq!(events.waiting.len(), EVENTS_MAX - 1);
    }

    #[test]
    fn who_has_no_callback_hears_nothing() {
        let mut events = watched(None, &[]);
        events.note(1, message(1));
        assert!(events.next(0).is_none() && events.waiting.is_empty());
    }
}
