//! Handle tables as they are written to a file: each object comes back under the same handle.

use serde::{Deserialize, Serialize};

use super::{GENERATION_MASK, HandleKind, Handles, INDEX_MASK, Slot};

/// The slots of a table: generation and object of each, and the free ones, the next one to be used last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Slots<S> {
    slots: Vec<(u8, Option<S>)>,
    free: Vec<u32>,
}

impl<T> Handles<T> {
    /// The table with each object as `save` has it.
    pub(crate) fn to_slots<S, E>(
        &self,
        mut save: impl FnMut(&T) -> Result<S, E>,
    ) -> Result<Slots<S>, E> {
        let slot = |slot: &Slot<T>| {
            Ok((slot.generation as u8, slot.value.as_ref().map(&mut save).transpose()?))
        };
        let slots = self.slots.iter().map(slot).collect::<Result<_, E>>()?;
        Ok(Slots { slots, free: self.free.clone() })
    }

    /// The table that was saved so; `Ok(None)` when these are no slots of a table.
    pub(crate) fn from_slots<S, E>(
        kind: HandleKind,
        saved: Slots<S>,
        mut restore: impl FnMut(S) -> Result<T, E>,
    ) -> Result<Option<Self>, E> {
        let mut free = saved.free.clone();
        free.sort_unstable();
        let empty = (0..).zip(&saved.slots).filter(|(_, (_, value))| value.is_none());
        let is_sound = saved.slots.len() as u64 <= INDEX_MASK.cast_unsigned().into()
            && empty.map(|(index, _)| index).eq(free);
        if !is_sound {
            return Ok(None);
        }
        let slot = |(generation, value): (u8, Option<S>)| {
            let generation = i32::from(generation) & GENERATION_MASK;
            Ok(Slot { generation, value: value.map(&mut restore).transpose()? })
        };
        let slots = saved.slots.into_iter().map(slot).collect::<Result<_, E>>()?;
        Ok(Some(Self { kind, slots, free: saved.free }))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn objects_come_back_under_their_handles() {
        let mut table = Handles::new(HandleKind::Op);
        let handles: Vec<i32> = (0..4).filter_map(|value| table.insert(value)).collect();
        table.remove(handles[2]);
        table.remove(handles[0]);
        let saved = table.to_slots(|value| Ok::<_, Infallible>(*value)).expect("never");
        let back = Handles::from_slots(HandleKind::Op, saved, Ok::<i32, Infallible>);
        let mut back = back.expect("never").expect("sound");
        assert!(table.iter().eq(back.iter()));
        assert_eq!(table.insert(9), back.insert(9), "free slots are used in the same order");
        let wrong = Slots { slots: vec![(0, Some(1)), (0, None)], free: vec![0] };
        let wrong = Handles::from_slots(HandleKind::Op, wrong, Ok::<i32, Infallible>);
        assert!(wrong.expect("never").is_none());
    }
}
