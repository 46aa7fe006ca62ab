//! Lower bound, upper bound, true extent and alignment of a type map (MPI-5.0 section 5.1).

/// Bounds of a type map.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bounds {
    /// First data byte and the byte after the last one; `None` without data.
    pub(crate) data: Option<(i64, i64)>,
    /// Bounds given to `MPI_Type_create_resized`. They win over natural ones wherever the type is
    /// used, as the standard's lb and ub markers do.
    pub(crate) markers: Option<(i64, i64)>,
    /// Strictest alignment of the basic types.
    pub(crate) alignment: i64,
}

impl Bounds {
    /// Bounds of the empty type map.
    pub(crate) const EMPTY: Self = Self { data: None, markers: None, alignment: 1 };

    /// Bounds of a basic type with this many bytes from its first to its last data byte.
    pub(crate) const fn basic(data: i64, alignment: i64) -> Self {
        Self { data: Some((0, data)), markers: None, alignment }
    }

    /// Lower and upper bound: the markers, or the data with its extent rounded up as a C compiler
    /// rounds the size of a struct; `None` when an address overflows.
    pub(crate) fn nominal(self) -> Option<(i64, i64)> {
        if let Some(markers) = self.markers {
            return Some(markers);
        }
        let (low, high) = self.data.unwrap_or((0, 0));
        let extent = high.checked_sub(low)?;
        let missing = (self.alignment - extent.rem_euclid(self.alignment)) % self.alignment;
        Some((low, high.checked_add(missing)?))
    }

    /// Both type maps together.
    pub(crate) fn union(self, other: Self) -> Self {
        Self {
            data: join(self.data, other.data),
            markers: join(self.markers, other.markers),
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
            data: shift(self.data, offset)?,
            markers: shift(self.markers, offset)?,
            ..self
        })
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
