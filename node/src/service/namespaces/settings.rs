//! What a namespace is asked to be made with, checked field by field.

use stint_idgen::allocator::NamespaceSpec;

use crate::ports::id_source::MAX_BLOCK;

/// The first id of a namespace that names none.
const DEFAULT_START: u64 = 1;
/// One past the last id of an ordinary namespace: ids fit a signed 64-bit column.
const INT64_LIMIT: u64 = 1 << 63;
/// One past the last id of an `int53` namespace: ids are exact in JavaScript and other doubles.
pub const INT53_LIMIT: u64 = 1 << 53;

/// The settings that a request may name.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespaceSettings {
    /// The first id, before the offset; 1 unless given.
    pub start: Option<u64>,
    /// How far apart neighbouring ids are; 1 unless given.
    pub stride: Option<u64>,
    /// Which of the interleaved sequences this is; 0 unless given.
    pub offset: Option<u64>,
    /// How many ids may be granted in total.
    pub quota: Option<u64>,
    /// Whether ids stay below 2^53.
    pub int53: bool,
}

/// Why a setting can't be used, and what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// The start is past the last id.
    #[error("use a start below {limit}{}", int53_hint(*limit))]
    Start {
        /// One past the last id.
        limit: u64,
    },
    /// Start and offset together are past the last id.
    #[error("the first id is `start` + `offset`: use numbers whose sum is below {limit}{}", int53_hint(*limit))]
    FirstId {
        /// One past the last id.
        limit: u64,
    },
    /// A stride of nothing, or of more than all ids.
    #[error("use a stride from 1 (every id) to {limit}; regions that share a namespace's span take one stride")]
    Stride {
        /// The largest.
        limit: u64,
    },
    /// The offset is that of another sequence.
    #[error("use an offset from 0 to {}, below the stride: others would meet the ids of another offset", stride - 1)]
    Offset {
        /// The stride.
        stride: u64,
    },
    /// A quota of nothing.
    #[error("use a quota of 1 or more, or null for as many ids as there are")]
    Quota,
}

const fn int53_hint(limit: u64) -> &'static str {
    if limit == INT53_LIMIT { " (2^53), or leave `int53` out" } else { " (2^63)" }
}

impl BadSetting {
    /// The field to change.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::FirstId { .. } | Self::Offset { .. } => "offset",
            Self::Stride { .. } => "stride",
            Self::Quota => "quota",
        }
    }
}

/// Refuses a quota of nothing.
///
/// # Errors
/// [`BadSetting::Quota`]
pub const fn check_quota(quota: Option<u64>) -> Result<(), BadSetting> {
    if matches!(quota, Some(0)) { Err(BadSetting::Quota) } else { Ok(()) }
}

impl NamespaceSettings {
    /// The settings as the allocator takes them.
    ///
    /// # Errors
    /// [`BadSetting`], for the first field that can't be used.
    pub fn spec(self) -> Result<NamespaceSpec, BadSetting> {
        let limit = if self.int53 { INT53_LIMIT } else { INT64_LIMIT };
        let (start, stride) = (self.start.unwrap_or(DEFAULT_START), self.stride.unwrap_or(1));
        let offset = self.offset.unwrap_or(0);
        if start >= limit {
            return Err(BadSetting::Start { limit });
        }
        // One step past an id is still a number then: both stay below 2^63.
        if !(1..=limit).contains(&stride) {
            return Err(BadSetting::Stride { limit });
        }
        if offset >= stride {
            return Err(BadSetting::Offset { stride });
        }
        if start.checked_add(offset).is_none_or(|first| first >= limit) {
            return Err(BadSetting::FirstId { limit });
        }
        check_quota(self.quota)?;
        Ok(NamespaceSpec { stride, offset, quota: self.quota, ..NamespaceSpec::contiguous(start, limit, MAX_BLOCK) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_left_out_are_the_plainest() {
        let plain = NamespaceSettings::default().spec().unwrap();
        assert_eq!(plain, NamespaceSpec::contiguous(1, 1 << 63, MAX_BLOCK));
        let exact = NamespaceSettings { int53: true, ..NamespaceSettings::default() };
        assert_eq!(exact.spec().unwrap().limit, 1 << 53);
    }

    #[test]
    fn each_setting_is_refused_at_its_bound_and_taken_below_it() {
        let settings = |start, stride, offset, quota, int53| {
            NamespaceSettings { start: Some(start), stride: Some(stride), offset: Some(offset), quota, int53 }.spec()
        };
        let (limit, int53_limit) = (INT64_LIMIT, INT53_LIMIT);
        for (refused, taken, why) in [
            (settings(limit, 1, 0, None, false), settings(limit - 1, 1, 0, None, false), BadSetting::Start { limit }),
            (
                settings(1 << 53, 1, 0, None, true),
                settings((1 << 53) - 1, 1, 0, None, true),
                BadSetting::Start { limit: int53_limit },
            ),
            (settings(1, 0, 0, None, false), settings(1, 1, 0, None, false), BadSetting::Stride { limit }),
            (settings(1, limit + 1, 0, None, false), settings(1, limit, 0, None, false), BadSetting::Stride { limit }),
            (settings(1, 2, 2, None, false), settings(1, 2, 1, None, false), BadSetting::Offset { stride: 2 }),
            (
                settings(limit - 1, 2, 1, None, false),
                settings(limit - 2, 2, 1, None, false),
                BadSetting::FirstId { limit },
            ),
            (settings(1, 1, 0, Some(0), false), settings(1, 1, 0, Some(1), false), BadSetting::Quota),
        ] {
            assert_eq!(refused, Err(why));
            let spec = taken.unwrap();
            assert!(spec.id(spec.start).is_some(), "{spec:?} has an id");
        }
    }
}
