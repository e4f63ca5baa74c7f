//! Moments, as milliseconds since the Unix epoch, between 1970 and the end of the year 9999.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;

/// Civil time is used throughout: jiff's own timestamps end a day before the year 9999 does.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A moment in Unix milliseconds, from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z.
///
/// Displays as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(i64);

/// Why a text or number is no moment Stint can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The text isn't RFC 3339.
    #[error("use RFC 3339 with a time zone, such as 2030-01-31T12:00:00Z")]
    Malformed,
    /// The moment lies outside the years Stint keeps.
    #[error("use a moment between the years 1970 and 9999")]
    OutOfRange,
}

impl UnixMs {
    /// 9999-12-31T23:59:59.999Z: the last moment that RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The moment `ms` milliseconds after the Unix epoch.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`] before 1970 or after [`UnixMs::MAX`].
    pub const fn new(ms: i64) -> Result<Self, TimestampError> {
        if ms >= 0 && ms <= Self::MAX.0 { Ok(Self(ms)) } else { Err(TimestampError::OutOfRange) }
    }

    /// What a clock reads; a reading past [`UnixMs::MAX`] is that.
    pub fn from_clock(unix_ms: u64) -> Self {
        i64::try_from(unix_ms).map_or(Self::MAX, |ms| Self(ms.min(Self::MAX.0)))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl FromStr for UnixMs {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let pieces = Pieces::parse(text).map_err(|_| TimestampError::Malformed)?;
        let (Some(time), Some(offset)) = (pieces.time(), pieces.to_numeric_offset()) else {
            return Err(TimestampError::Malformed);
        };
        let local = DateTime::from_parts(pieces.date(), time).duration_since(EPOCH);
        let moment = local - SignedDuration::from_secs(offset.seconds().into());
        Self::new(i64::try_from(moment.as_millis()).map_err(|_| TimestampError::OutOfRange)?)
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = EPOCH.checked_add(SignedDuration::from_millis(self.0)).map_err(|_| fmt::Error)?;
        write!(f, "{moment:.3}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_and_read_back_as_rfc_3339() {
        let moment: UnixMs = "2030-01-31T13:00:00.250+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2030-01-31T12:00:00.250Z");
        assert_eq!(moment.to_string().parse(), Ok(moment));
    }

    #[test]
    fn years_outside_1970_to_9999_are_refused() {
        assert_eq!("1969-12-31T23:59:59Z".parse::<UnixMs>(), Err(TimestampError::OutOfRange));
        assert_eq!(UnixMs::MAX.to_string(), "9999-12-31T23:59:59.999Z");
        assert!(UnixMs::new(UnixMs::MAX.get() + 1).is_err());
        assert_eq!("9999-12-31T23:59:59.999Z".parse(), Ok(UnixMs::MAX));
        assert_eq!("9999-12-31T23:59:59-01:00".parse::<UnixMs>(), Err(TimestampError::OutOfRange));
        assert!("99999-01-01T00:00:00Z".parse::<UnixMs>().is_err());
    }

    #[test]
    fn a_text_without_a_time_zone_is_refused() {
        for text in ["", "tomorrow", "2030-01-31", "2030-01-31T12:00:00", "1893456000"] {
            assert_eq!(text.parse::<UnixMs>(), Err(TimestampError::Malformed), "{text}");
        }
    }
}
