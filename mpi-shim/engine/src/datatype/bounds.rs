//! Lower bound, upper bound, true extent and alignment of a type map (MPI-5.0 section 5.1).

/// Bounds of a type map; an empty one has none.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bounds {
    /// Lower and upper bound.
    pub(crate) nominal: Option<(i64, i64)>,
    /// First data byte and the byte after the last one.
    pub(crate) data: Option<(i64, i64)>,
    /// Whether the bounds come from `MPI_Type_create_resized`; such bounds win over natural ones
    /// wherever the type is used, as the standard's lb and ub markers do.
    pub(crate) explicit: bool,
    /// Strictest alignment of the basic types.
    pub(crate) alignment: i64,
}

impl Bounds {
    /// Bounds of the empty type map.
    pub(crate) const EMPTY: Self =
        Self { nominal: None, data: None, explicit: false, alignment: 1 };

    /// Bounds of a basic type.
    pub(crate) const fn basic(extent: i64, data: i64, alignment: i64) -> Self {
        Self { nominal: Some((0, extent)), data: Some((0, data)), explicit: false, alignment }
    }

    /// Both type maps together.
    pub(crate) fn union(self, other: Self) -> Self {
        let nominal = match (self.explicit, other.explicit) {
            (true, false) => self.nominal,
            (false, true) => other.nominal,
            _ => join(self.nominal, other.nominal),
        };
        Self {
            nominal,
            data: join(self.data, other.data),
            explicit: self.explicit || other.explicit,
            alignment: self.alignment.max(other.alignment),
        }
    }

    /// `count` copies of the type map, `stride` bytes apart; `None` when an address overflows.
    pub(crate) fn repeat(self, count: i64, stride: i64) -> Option<Self> {
        if count == 0 {
            return Some(Self::EMPTY);
        }
        let last = stride.checked_mul(count - 1)?;
        Some(self.union(self.shift(last)?))
    }

    /// The type map moved by `offset` bytes; `None` when an address overflows.
    pub(crate) fn shift(self, offset: i64) -> Option<Self> {
        Some(Self {
            nominal: shift(self.nominal, offset)?,
            data: shift(self.data, offset)?,
            ..self
        })
    }

    /// Natural bounds with the extent rounded up as a C compiler rounds the size of a struct.
    pub(crate) fn padded(self) -> Option<Self> {
        let Some((low, high)) = self.nominal.filter(|_| !self.explicit) else {
            return Some(self);
        };
        let extent = high.checked_sub(low)?;
        let missing = (self.alignment - extent.rem_euclid(self.alignment)) % self.alignment;
        Some(Self { nominal: Some((low, high.checked_add(missing)?)), ..self })
    }
}

fn join(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some((low, high)), Some((low_b, high_b))) => Some((low.min(low_b), high.max(high_b))),
        _ => a.or(b),
    }
}

fn shift(range: Option<(i64, i64)>, offset: i64) -> Option<Option<(i64, i64)>> {
    let Some((low, high)) = range else { return Some(None) };
    Some(Some((low.checked_add(offset)?, high.checked_add(offset)?)))
}
