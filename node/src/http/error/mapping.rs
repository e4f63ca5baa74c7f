//! From the use cases' errors to problems.

use stint_idgen::allocator::{NamespaceSpec, Refusal};

use super::{Problem, ProblemKind};
use crate::domain::alias::AliasError;
use crate::domain::rate::Policy;
use crate::domain::target_url::TargetUrlError;
use crate::http::limits::retry_after;
use crate::ports::coordination::{CoordinationError, MemberError};
use crate::ports::id_source::IdError;
use crate::ports::link_store::StoreError;
use crate::service::batch::BatchError;
use crate::service::create::CreateError;
use crate::service::decode_ids::DecodeError;
use crate::service::issue_ids::{IssueError, MAX_COUNT_IN_RANGES};
use crate::service::limits::Excess;
use crate::service::links::LinkError;
use crate::service::namespaces::{INT53_LIMIT, NamespaceError};

impl From<TargetUrlError> for Problem {
    fn from(error: TargetUrlError) -> Self {
        Self::field(ProblemKind::InvalidUrl, "url", error.to_string())
    }
}

impl From<AliasError> for Problem {
    fn from(error: AliasError) -> Self {
        let kind = match error {
            AliasError::Reserved => ProblemKind::AliasReserved,
            AliasError::Empty | AliasError::TooLong | AliasError::BadCharacter => ProblemKind::InvalidAlias,
        };
        Self::field(kind, "alias", error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = if error.retryable() {
            Self::new(ProblemKind::Unavailable, "the database is not available; try again shortly")
        } else {
            Self::new(ProblemKind::Internal, "the database holds something that can't be read")
        };
        problem.caused_by(error)
    }
}

impl From<BatchError> for Problem {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Overloaded => {
                Self::new(ProblemKind::Overloaded, "too many writes are waiting; try again shortly")
            }
            BatchError::Stopping => Self::new(ProblemKind::Unavailable, "this node is stopping; try again"),
            BatchError::Store(error) => error.into(),
        }
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        match error {
            IdError::Refused(Refusal::UnknownNamespace(name)) => Self::field(
                ProblemKind::NamespaceNotFound,
                "namespace",
                format!("there is no namespace `{name}`; make it with POST /api/v1/namespaces"),
            ),
            IdError::Refused(Refusal::NamespaceDiffers { name, spec }) => Self::new(
                ProblemKind::NamespaceDiffers,
                format!("`{name}` exists with {}; choose another name, or ask for just that", settings(&spec)),
            ),
            IdError::Refused(Refusal::QuotaReached { namespace, quota }) => Self::new(
                ProblemKind::QuotaReached,
                format!(
                    "the {quota} ids of `{namespace}` are handed out; raise its quota with PATCH /api/v1/namespaces/{namespace}"
                ),
            ),
            IdError::Refused(Refusal::Exhausted(_)) | IdError::Exhausted => {
                Self::new(ProblemKind::IdsExhausted, "every id of the namespace is issued; make another namespace")
            }
            IdError::Refused(Refusal::BadSpec) => {
                Self::field(ProblemKind::InvalidField, "start", "use a start below the namespace's limit")
            }
            IdError::Refused(Refusal::TooManyNamespaces(most)) => Self::new(
                ProblemKind::TooManyNamespaces,
                format!("there are {most} namespaces already; use one of them, for example with a prefix of your own"),
            ),
            IdError::Allocator(error) => error.into(),
            IdError::Stalled { .. } | IdError::Fence(_) | IdError::Snowflake(_) => {
                Self::new(ProblemKind::Unavailable, "no new ids can be had at the moment; nothing was changed")
                    .caused_by(error)
            }
            IdError::Refused(_) | IdError::LaneTaken => {
                Self::new(ProblemKind::Internal, "the id source refused to issue ids").caused_by(error)
            }
        }
    }
}

/// What a namespace is made with, in the words of a request for it.
fn settings(spec: &NamespaceSpec) -> String {
    let NamespaceSpec { start, stride, offset, .. } = spec;
    let quota = spec.quota.map_or_else(|| "no quota".to_owned(), |quota| format!("quota {quota}"));
    let int53 = spec.limit <= INT53_LIMIT;
    format!("start {start}, stride {stride}, offset {offset}, {quota}, int53 {int53}")
}

impl From<CoordinationError> for Problem {
    fn from(error: CoordinationError) -> Self {
        let detail = match error {
            CoordinationError::Unavailable { .. } => "the allocator gives no answer at the moment; nothing was changed",
            CoordinationError::OutcomeUnknown { .. } => "it is not known whether this was done; repeating it is safe",
        };
        Self::new(ProblemKind::Unavailable, detail).caused_by(error)
    }
}

impl From<MemberError> for Problem {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Refused(why) => Self::new(ProblemKind::MemberChangeRefused, why),
            MemberError::Coordination(error @ CoordinationError::OutcomeUnknown { .. }) => Self::new(
                ProblemKind::Unavailable,
                "it is not known whether this was done; see GET /api/v1/cluster before trying again",
            )
            .caused_by(error),
            MemberError::Coordination(error) => error.into(),
        }
    }
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::OwnNamespace => {
                Self::field(ProblemKind::Forbidden, "namespace", "`links` is Stint's own namespace; make another one")
            }
            IssueError::BadCount { most: MAX_COUNT_IN_RANGES, .. } => Self::field(
                ProblemKind::InvalidField,
                "count",
                format!("ask for 1 to {MAX_COUNT_IN_RANGES} ids at once"),
            ),
            IssueError::BadCount { most, .. } => Self::field(
                ProblemKind::InvalidField,
                "count",
                format!(
                    "ask for 1 to {most} ids at once; as `ranges`, but for `snowflake`, up to {MAX_COUNT_IN_RANGES}"
                ),
            ),
            IssueError::NoSnowflakes => Self::field(
                ProblemKind::NamespaceNotFound,
                "namespace",
                "this node issues no Snowflake ids: it must be started with `--ids snowflake`",
            ),
            IssueError::Source(error) => error.into(),
        }
    }
}

impl From<NamespaceError> for Problem {
    fn from(error: NamespaceError) -> Self {
        match error {
            NamespaceError::Own(name) => Self::field(
                ProblemKind::Forbidden,
                "name",
                format!("`{name}` is Stint's own namespace, not made or changed by others; use another name"),
            ),
            NamespaceError::Setting(error) => Self::field(ProblemKind::InvalidField, error.field(), error.to_string()),
            NamespaceError::Source(error) => error.into(),
            NamespaceError::Allocator(error) => error.into(),
        }
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Malformed => Self::new(
                ProblemKind::IdNotFound,
                "this is no id; give a decimal number below 2^64, or one in Base62 (`as=base62` if it has digits only)",
            ),
            DecodeError::Foreign { .. } => Self::new(ProblemKind::IdNotFound, error.to_string()),
            DecodeError::Source(error) => error.into(),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::AliasTaken(alias) => Self::field(
                ProblemKind::AliasTaken,
                "alias",
                format!("`{alias}` names another link, or named one that was deleted; choose another alias"),
            ),
            CreateError::LeadsBack(host) => Self::field(
                ProblemKind::LinkLoop,
                "url",
                format!("`{host}` is this service itself; give the URL that the link should lead to in the end"),
            ),
            CreateError::ExpiryPassed(expiry) => Self::field(
                ProblemKind::InvalidField,
                "expires_at",
                format!("{expiry} has passed; use a moment in the future"),
            ),
            CreateError::ReuseNotPlain => Self::field(
                ProblemKind::InvalidField,
                "reuse",
                "only a link with nothing but a URL can be reused; leave `reuse` out, or everything else",
            ),
            CreateError::IdempotencyMismatch => Self::new(
                ProblemKind::IdempotencyKeyReused,
                "this Idempotency-Key came with another request before; use a new one",
            ),
            CreateError::Ids(IdError::Exhausted) => Self::new(
                ProblemKind::Unavailable,
                "every code of this service is used: it can follow links, not make new ones",
            ),
            CreateError::Ids(error) => error.into(),
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Missing => {
                Self::new(ProblemKind::LinkNotFound, "no link has this code; codes are case-sensitive")
            }
            LinkError::Deleted => {
                Self::new(ProblemKind::LinkDeleted, "the link was deleted; its code is never used again")
            }
            LinkError::Foreign => {
                Self::new(ProblemKind::Forbidden, "the link belongs to another owner; use a key of that owner")
            }
            LinkError::Refused(error) => error.into(),
            LinkError::Store(error) => error.into(),
            LinkError::Edit(error) => error.into(),
        }
    }
}

impl From<Excess> for Problem {
    fn from(excess: Excess) -> Self {
        let (count, period, seconds) = (excess.rate.count, excess.rate.period, retry_after(&excess));
        let detail = match excess.policy {
            Policy::Create => format!("one API key may create {count} links in {period:?}; go on in {seconds} s"),
            Policy::Anonymous => {
                format!(
                    "without an API key, {count} links may be created from one address in {period:?}; go on in {seconds} s"
                )
            }
            Policy::Guess => format!(
                "more than {count} codes or keys that don't exist were asked for from this address in {period:?}; go on in \
                 {seconds} s"
            ),
            Policy::Follow => {
                format!("{count} links may be followed from one address in {period:?}; go on in {seconds} s")
            }
        };
        Self {
            retry_after: Some(seconds),
            excess: Some(Box::new(excess)),
            ..Self::new(ProblemKind::RateLimited, detail)
        }
    }
}
