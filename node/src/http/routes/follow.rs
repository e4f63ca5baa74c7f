//! `GET /{code}`: following a link. `GET /{code}+`: looking where it leads first.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::alias::Alias;
use crate::domain::link::Link;
use crate::domain::rate::Policy;
use crate::domain::timestamp::UnixMs;
use crate::http::error::documented::{LinkProblems, ServerProblems};
use crate::http::error::{Problem, ProblemBody, ProblemKind};
use crate::http::limits::Sender;
use crate::http::pages;
use crate::http::state::Api;
use crate::service::resolve::{Follow, Tier};

/// May be kept by nobody but the visitor, and must be asked for again each time: an edited target is never frozen.
const REVALIDATED: HeaderValue = HeaderValue::from_static("private, no-cache");
/// Each visit counts, so none may come from a cache.
const NEVER_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// Where a link leads, for people who want to know first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LinkPreview {
    /// Its code or alias.
    #[schema(example = "4nBv2Kq")]
    code: String,
    /// Where it leads.
    #[schema(example = "https://xn--bcher-kva.example/")]
    url: String,
    /// The target's host as people read it.
    #[schema(example = "bücher.example")]
    host: Option<String>,
    /// When it was created, RFC 3339.
    created_at: String,
    /// When it ends, RFC 3339.
    expires_at: Option<String>,
}

/// Follow a link
///
/// Answers with a redirect to the target, exactly as it was given; the request's own query string is not passed on.
/// With a `+` after the code, shows where the link leads instead (HTML, or JSON with `Accept: application/json`).
/// HEAD is answered alike, and not counted.
#[utoipa::path(
    get,
    path = "/{code}",
    tag = "Following",
    params(("code" = String, Path, description = "A code or alias; add `+` for a preview", example = "4nBv2Kq")),
    responses(
        (status = 302, description = "Go to `Location` (the status is a setting: 301, 302, 307 or 308)",
         headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 200, description = "The preview, for a code with `+`", body = LinkPreview),
        LinkProblems,
        (status = 429, description = "`rate-limited`: try again after `Retry-After` seconds", body = ProblemBody,
         content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds"))),
        ServerProblems,
    )
)]
pub(in crate::http) async fn follow(
    State(api): State<Arc<Api>>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
    sender: Option<Extension<Sender>>,
) -> Result<Response, Problem> {
    admit(&api, sender).await?;
    answer(&api, &method, &headers, &uri).await
}

/// Refuses visitors that ask for too much.
pub(super) async fn admit(api: &Api, sender: Option<Extension<Sender>>) -> Result<(), Problem> {
    if let Some(Extension(Sender(sender))) = sender {
        api.clients.limits.admit(sender)?;
        api.clients.limits.take_one(Policy::Follow, sender).await?;
    }
    Ok(())
}

/// The link that a visitor would be led along by now. Nothing is counted.
pub(super) async fn look_up(api: &Api, code: &str) -> Result<Arc<Link>, Problem> {
    match api.resolve.follow(code, false).await? {
        Follow::To { link, .. } => Ok(link),
        missed => Err(refuse(&missed, code)),
    }
}

async fn answer(api: &Api, method: &Method, headers: &HeaderMap, uri: &Uri) -> Result<Response, Problem> {
    let decoded = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8_lossy();
    let path = decoded.as_ref();
    if let Some(code) = path.strip_suffix('+') {
        return preview(api, code, headers).await;
    }
    let counts = *method != Method::HEAD;
    let follow = api.resolve.follow(path, counts).await;
    count(api, follow.as_ref().ok());
    match follow? {
        Follow::To { link, limited, .. } => {
            let redirected = redirect(api, &link, limited)?;
            if counts {
                api.clicks.record(link.key, UnixMs::from_clock(api.clock.unix_ms()));
            }
            Ok(redirected)
        }
        missed => Err(refuse(&missed, path)),
    }
}

fn redirect(api: &Api, link: &Link, limited: bool) -> Result<Response, Problem> {
    let content = link.content.as_ref().ok_or_else(|| gone(ProblemKind::LinkDeleted))?;
    let location = HeaderValue::from_str(content.url.as_str())
        .map_err(|error| Problem::new(ProblemKind::Internal, "the stored target can't be sent").caused_by(error))?;
    let cached = if limited { NEVER_KEPT } else { REVALIDATED };
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, cached)];
    Ok((api.settings.redirect_status, headers).into_response())
}

fn count(api: &Api, follow: Option<&Follow>) {
    let metrics = &api.link_metrics;
    match follow {
        Some(Follow::To { tier: Tier::L1, .. }) => &metrics.found_in_l1,
        Some(Follow::To { tier: Tier::L2, .. }) => &metrics.found_in_l2,
        Some(Follow::To { tier: Tier::Replica, .. }) => &metrics.found_on_replica,
        Some(Follow::To { tier: Tier::Primary, .. }) => &metrics.found_on_primary,
        Some(Follow::To { tier: Tier::Store, .. }) => &metrics.found_in_store,
        Some(Follow::Missing) => &metrics.missing,
        Some(Follow::Expired | Follow::Deleted | Follow::UsedUp) => &metrics.gone,
        None => &metrics.failed,
    }
    .increment(1);
}

fn refuse(missed: &Follow, path: &str) -> Problem {
    match missed {
        Follow::Deleted => gone(ProblemKind::LinkDeleted),
        Follow::Expired => gone(ProblemKind::LinkExpired),
        Follow::UsedUp => gone(ProblemKind::LinkUsedUp),
        Follow::To { .. } | Follow::Missing => {
            let shown: String = path.chars().take(64).collect();
            let detail = format!("no link has the code `{shown}`; codes are case-sensitive");
            let problem = Problem::new(ProblemKind::LinkNotFound, detail);
            // What could be no link's name, such as favicon.ico, tells nobody anything.
            if path.parse::<Alias>().is_ok() { problem.guessed() } else { problem }
        }
    }
}

fn gone(kind: ProblemKind) -> Problem {
    Problem::new(kind, kind.explanation().trim())
}

async fn preview(api: &Api, code: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let link = look_up(api, code).await?;
    let content = link.content.as_ref().ok_or_else(|| gone(ProblemKind::LinkDeleted))?;
    let preview = LinkPreview {
        code: code.to_owned(),
        url: content.url.as_str().to_owned(),
        host: content.url.readable_host(),
        created_at: link.created_at.to_string(),
        expires_at: content.expires_at.map(|expiry| expiry.to_string()),
    };
    let cached = [(header::CACHE_CONTROL, NEVER_KEPT)];
    if pages::wants_json(headers) {
        return Ok((cached, Json(preview)).into_response());
    }
    let body = pages::preview(&preview.code, &preview.url, preview.host.as_deref(), preview.expires_at.as_deref());
    let mut response = (StatusCode::OK, cached, [(header::CONTENT_TYPE, pages::HTML)], body).into_response();
    pages::protect(response.headers_mut());
    Ok(response)
}
