//! Reading an id: where it comes from, or what it says by itself.

use std::sync::Arc;

use stint_idgen::allocator::{GrantFate, GrantRecord, IdOrigin, NamespaceName, NamespaceSpec, Refusal};
use stint_idgen::snowflake::{self, Snowflake};
use stint_idgen::{IdRange, Key, KeyCodec, Lane, base62};

use crate::ports::coordination::{Allocator, CoordinationError};
use crate::ports::id_source::{IdError, IdRun, SNOWFLAKE};

/// Why an id was not read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The text is no id.
    #[error("an id is a decimal number below 2^64, or one in Base62")]
    Malformed,
    /// The namespace can't have this id.
    #[error("the namespace `{namespace}` has no id {id}: {why}")]
    Foreign {
        /// Which namespace.
        namespace: NamespaceName,
        /// Which id.
        id: u64,
        /// Why not.
        why: &'static str,
    },
    /// The allocator refused, or gave no answer.
    #[error("the allocator did not tell")]
    Source(#[from] IdError),
}

impl From<CoordinationError> for DecodeError {
    fn from(error: CoordinationError) -> Self {
        Self::Source(error.into())
    }
}

/// What is known of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedId {
    /// The id as a number.
    pub id: u64,
    /// The code, for the key of a link.
    pub code: Option<String>,
    /// Where it comes from.
    pub trace: Trace,
}

/// Where an id comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// It lies beyond all grants.
    NotIssued,
    /// It was granted.
    Granted {
        /// The grant.
        grant: GrantRecord,
        /// Its ids.
        run: IdRun,
        /// What became of the id itself.
        standing: Standing,
    },
    /// It was granted, or skipped, before this moment, Unix milliseconds.
    Forgotten {
        /// The moment.
        before_ms: u64,
    },
    /// A Snowflake id says all that is known.
    Snowflake(Snowflake),
}

/// What became of an id that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its holder has it, or gave it out.
    Granted,
    /// Its holder reported that it never was given out, and never will be.
    Unused,
    /// Its holder fell silent: it was given out, or never will be.
    Lost,
}

/// Reads ids.
#[derive(Debug)]
pub struct DecodeIds {
    allocator: Arc<dyn Allocator>,
    codec: Arc<KeyCodec>,
}

impl DecodeIds {
    /// Asks `allocator`; `codec` knows the codes of links.
    pub const fn new(allocator: Arc<dyn Allocator>, codec: Arc<KeyCodec>) -> Self {
        Self { allocator, codec }
    }

    /// What is known of the id that `text` writes: in decimal, else (or with `is_base62`) in Base62. In `links` the
    /// Base62 form is the code.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub async fn decode(
        &self,
        namespace: &NamespaceName,
        text: &str,
        is_base62: bool,
    ) -> Result<DecodedId, DecodeError> {
        let is_decimal = !is_base62 && text.bytes().all(|byte| byte.is_ascii_digit());
        let decimal = || text.parse::<u64>().map_err(|_| DecodeError::Malformed);
        if namespace.is_links() {
            let key = if is_decimal { key_of(decimal()?) } else { self.codec.key(text) };
            return self.decode_key(namespace, key.ok_or(DecodeError::Malformed)?).await;
        }
        let id = if is_decimal { decimal()? } else { base62::decode(text.as_bytes()).ok_or(DecodeError::Malformed)? };
        let trace = if namespace.as_str() == SNOWFLAKE {
            let says = snowflake::decode(id).ok_or_else(|| foreign(namespace, id, "Snowflake ids are below 2^63"))?;
            Trace::Snowflake(says)
        } else {
            let spec = self.spec(namespace).await?;
            let outside = || foreign(namespace, id, "it lies outside its span, or in the sequence of another offset");
            let counter = spec.counter(id).ok_or_else(outside)?;
            self.trace(namespace, (id, counter), |range| IdRun::of_counters(&spec, range)).await?.ok_or_else(outside)?
        };
        Ok(DecodedId { id, code: None, trace })
    }

    /// The key of a link: the allocator knows it by its counter in the lane.
    async fn decode_key(&self, namespace: &NamespaceName, key: Key) -> Result<DecodedId, DecodeError> {
        let id = key.get().unsigned_abs();
        if key.get() < 0 {
            return Err(foreign(namespace, id, "it is a Snowflake id; ask for it in the namespace `snowflake`"));
        }
        let counter = match Lane::locate(key) {
            Some((Lane::Raft, counter)) => counter,
            Some(_) => {
                return Err(foreign(namespace, id, "it was not drawn from the allocator, but from another source"));
            }
            None => return Err(foreign(namespace, id, "it is an alias that somebody chose, not drawn")),
        };
        // The ids of `links` are, to the allocator, the lane's counters.
        let found = self.trace(namespace, (counter, counter), run_of_keys).await?;
        let trace = found.ok_or_else(|| foreign(namespace, id, "it lies outside its span"))?;
        Ok(DecodedId { id, code: Some(self.codec.code(key).as_str().to_owned()), trace })
    }

    async fn spec(&self, namespace: &NamespaceName) -> Result<NamespaceSpec, DecodeError> {
        let status = self.allocator.status().await?;
        let found = status.namespaces.into_iter().find(|known| known.name == *namespace);
        found.map(|known| known.spec).ok_or_else(|| unknown(namespace))
    }

    /// What the allocator knows of an id and its counter; `None` if the namespace has no such id.
    async fn trace(
        &self,
        namespace: &NamespaceName,
        (id, counter): (u64, u64),
        run: impl Fn(IdRange) -> Option<IdRun> + Send,
    ) -> Result<Option<Trace>, DecodeError> {
        let origin = self.allocator.find_origin(namespace, id).await?.ok_or_else(|| unknown(namespace))?;
        Ok(match origin {
            IdOrigin::Foreign => None,
            IdOrigin::NotGranted => Some(Trace::NotIssued),
            IdOrigin::Forgotten { before_ms } => Some(Trace::Forgotten { before_ms }),
            IdOrigin::Granted(grant) => {
                let run = run(grant.range).expect("granted counters lie in their namespace");
                Some(Trace::Granted { standing: standing(grant.fate, counter), run, grant })
            }
        })
    }
}

const fn standing(fate: GrantFate, counter: u64) -> Standing {
    match fate {
        GrantFate::Returned { used_to } if counter >= used_to => Standing::Unused,
        GrantFate::Live | GrantFate::Returned { .. } => Standing::Granted,
        GrantFate::Lost => Standing::Lost,
    }
}

/// The keys of a block, as one run: only where codes grow longer does it hold keys of other lanes too.
fn run_of_keys(counters: IdRange) -> Option<IdRun> {
    let key = |counter| Lane::Raft.key(counter).map(|key| key.get().unsigned_abs());
    let (first, last) = (key(counters.start())?, key(counters.end() - 1)?);
    Some(IdRun::new(first, last - first + 1, 1))
}

fn key_of(id: u64) -> Option<Key> {
    Key::new(i64::try_from(id).ok()?)
}

fn foreign(namespace: &NamespaceName, id: u64, why: &'static str) -> DecodeError {
    DecodeError::Foreign { namespace: namespace.clone(), id, why }
}

fn unknown(namespace: &NamespaceName) -> DecodeError {
    IdError::Refused(Refusal::UnknownNamespace(namespace.clone())).into()
}

#[cfg(test)]
mod tests;
