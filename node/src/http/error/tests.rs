//! Every error has its status and type, and no internal text reaches a body.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use stint_idgen::allocator::{NamespaceSpec, Refusal};

use super::*;
use crate::domain::alias::AliasError;
use crate::domain::rate::{Policy, Rate};
use crate::domain::target_url::TargetUrlError;
use crate::ports::coordination::{CoordinationError, MemberError};
use crate::ports::id_source::{IdError, NoSnowflake};
use crate::ports::link_store::StoreError;
use crate::service::batch::BatchError;
use crate::service::create::CreateError;
use crate::service::decode_ids::DecodeError;
use crate::service::issue_ids::IssueError;
use crate::service::links::LinkError;
use crate::service::namespaces::{BadSetting, NamespaceError};

const SECRET: &str = "password=hunter2";

fn unavailable() -> StoreError {
    StoreError::Unavailable { operation: "connect", source: Arc::new(std::io::Error::other(SECRET)) }
}

fn excess(policy: Policy) -> Excess {
    let rate = Rate { count: 60.try_into().unwrap(), period: Duration::from_mins(1) };
    Excess { policy, rate, wait: Duration::from_millis(1500) }
}

#[test]
fn every_error_has_its_status_and_type() {
    let alias = || "taken".parse().unwrap();
    let orders = || "orders".parse().unwrap();
    let spec = NamespaceSpec::contiguous(1, 9, 1);
    let refused = IdError::Refused;
    let away = || CoordinationError::Unavailable { source: SECRET.into() };
    let unknown = || CoordinationError::OutcomeUnknown { source: SECRET.into() };
    let table: Vec<(Problem, u16, &str)> = vec![
        (TargetUrlError::Empty.into(), 422, "invalid-url"),
        (TargetUrlError::NoHost.into(), 422, "invalid-url"),
        (AliasError::Empty.into(), 422, "invalid-alias"),
        (AliasError::TooLong.into(), 422, "invalid-alias"),
        (AliasError::BadCharacter.into(), 422, "invalid-alias"),
        (AliasError::Reserved.into(), 422, "alias-reserved"),
        (unavailable().into(), 503, "unavailable"),
        (StoreError::Corrupt { what: "links.url" }.into(), 500, "internal"),
        (BatchError::Overloaded.into(), 503, "overloaded"),
        (BatchError::Stopping.into(), 503, "unavailable"),
        (BatchError::Store(unavailable()).into(), 503, "unavailable"),
        (IdError::Stalled { waited: Duration::ZERO }.into(), 503, "unavailable"),
        (IdError::Exhausted.into(), 409, "ids-exhausted"),
        (IdError::LaneTaken.into(), 500, "internal"),
        (IdError::Fence(unavailable()).into(), 503, "unavailable"),
        (IdError::Snowflake(NoSnowflake::NotLeased).into(), 503, "unavailable"),
        (IssueError::OwnNamespace.into(), 403, "forbidden"),
        (IssueError::BadCount { asked: 0, most: 1 }.into(), 422, "invalid-field"),
        (IssueError::NoSnowflakes.into(), 404, "namespace-not-found"),
        (refused(Refusal::UnknownNamespace(orders())).into(), 404, "namespace-not-found"),
        (refused(Refusal::NamespaceDiffers { name: orders(), spec }).into(), 409, "namespace-differs"),
        (refused(Refusal::Exhausted(orders())).into(), 409, "ids-exhausted"),
        (refused(Refusal::QuotaReached { namespace: orders(), quota: 5 }).into(), 409, "quota-reached"),
        (refused(Refusal::BadSpec).into(), 422, "invalid-field"),
        (refused(Refusal::TooManyNamespaces(3)).into(), 409, "too-many-namespaces"),
        (refused(Refusal::NothingWanted).into(), 500, "internal"),
        (NamespaceError::Own(orders()).into(), 403, "forbidden"),
        (NamespaceError::Setting(BadSetting::Quota).into(), 422, "invalid-field"),
        (NamespaceError::Source(IdError::Exhausted).into(), 409, "ids-exhausted"),
        (NamespaceError::Allocator(away()).into(), 503, "unavailable"),
        (DecodeError::Malformed.into(), 404, "id-not-found"),
        (DecodeError::Foreign { namespace: orders(), id: 1, why: "it is not" }.into(), 404, "id-not-found"),
        (DecodeError::Source(IdError::Allocator(away())).into(), 503, "unavailable"),
        (MemberError::Refused("no such node".to_owned()).into(), 409, "member-change-refused"),
        (MemberError::Coordination(away()).into(), 503, "unavailable"),
        (MemberError::Coordination(unknown()).into(), 503, "unavailable"),
        (CreateError::AliasTaken(alias()).into(), 409, "alias-taken"),
        (CreateError::LeadsBack("sho.rt".to_owned()).into(), 422, "link-loop"),
        (CreateError::ReuseNotPlain.into(), 422, "invalid-field"),
        (CreateError::IdempotencyMismatch.into(), 422, "idempotency-key-reused"),
        (CreateError::Store(BatchError::Overloaded).into(), 503, "overloaded"),
        (excess(Policy::Create).into(), 429, "rate-limited"),
        (excess(Policy::Anonymous).into(), 429, "rate-limited"),
        (excess(Policy::Guess).into(), 429, "rate-limited"),
        (excess(Policy::Follow).into(), 429, "rate-limited"),
        (LinkError::Missing.into(), 404, "link-not-found"),
        (LinkError::Deleted.into(), 410, "link-deleted"),
        (LinkError::Foreign.into(), 403, "forbidden"),
        (LinkError::Store(unavailable()).into(), 503, "unavailable"),
    ];
    for (problem, status, slug) in table {
        assert_eq!((problem.kind().status().as_u16(), problem.kind().slug()), (status, slug), "{problem:?}");
    }
}

#[test]
fn what_a_driver_says_never_reaches_a_body() {
    let problem: Problem = LinkError::Store(unavailable()).into();
    let body = serde_json::to_string(&problem.body("id")).unwrap();
    assert!(!body.contains(SECRET), "{body}");
    let source = problem.source().unwrap();
    assert_eq!(source.source().unwrap().to_string(), SECRET, "the log gets it");
}

#[test]
fn a_namespace_that_differs_is_told_with_what_it_has() {
    let spec = NamespaceSpec { stride: 2, offset: 1, quota: Some(70), ..NamespaceSpec::contiguous(5, 1 << 53, 1) };
    let problem: Problem = IdError::Refused(Refusal::NamespaceDiffers { name: "orders".parse().unwrap(), spec }).into();
    assert!(problem.detail().contains("start 5, stride 2, offset 1, quota 70, int53 true"), "{}", problem.detail());
}

#[test]
fn an_answer_that_asks_to_come_back_says_when() {
    for kind in ProblemKind::ALL {
        let response = Problem::new(*kind, "a detail").into_response();
        let has = response.headers().contains_key(header::RETRY_AFTER);
        assert_eq!(has, kind.status() == StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store", "{kind:?}");
    }
    let limited = Problem::from(excess(Policy::Create)).into_response();
    assert_eq!(limited.headers()[header::RETRY_AFTER], "2");
    assert_eq!(limited.headers()["ratelimit"], "\"create\";r=0;t=2");
}

#[test]
fn every_problem_has_a_name_of_its_own() {
    let slugs: HashSet<_> = ProblemKind::ALL.iter().map(|kind| kind.slug()).collect();
    assert_eq!(slugs.len(), ProblemKind::ALL.len());
}
