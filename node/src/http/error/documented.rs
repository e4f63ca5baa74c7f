//! Problems that many operations share, for the OpenAPI document.

use utoipa::IntoResponses;

use super::ProblemBody;

/// What an operation that asks for an API key may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers, nothing is made of it")]
pub(in crate::http) enum AccessProblems {
    /// `unauthorized`
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(ProblemBody),
    /// `forbidden`: the key lacks a scope, or the thing belongs to another owner
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// `rate-limited`: try again after `Retry-After` seconds
    #[response(status = 429, content_type = "application/problem+json", headers(
        ("Retry-After" = u32, description = "Seconds"),
        ("RateLimit" = String, description = "What is left: `\"create\";r=0;t=2`"),
        ("RateLimit-Policy" = String, description = "How much one client may do: `\"create\";q=60;w=60`")))]
    Limited(ProblemBody),
}

/// What an operation that takes a JSON body may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers, nothing is made of it")]
pub(in crate::http) enum BodyProblems {
    /// `malformed-body`; `invalid-idempotency-key` where one is taken
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// `body-too-slow`
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(ProblemBody),
    /// `body-too-large`
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemBody),
    /// `unsupported-media-type`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(ProblemBody),
}

/// What an operation on an existing link may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers, nothing is made of it")]
pub(in crate::http) enum LinkProblems {
    /// `link-not-found`
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody),
    /// `link-deleted`; to visitors also `link-expired` and `link-used-up`
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(ProblemBody),
}

/// What any operation may answer while something is away.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes answers, nothing is made of it")]
pub(in crate::http) enum ServerProblems {
    /// `unavailable`, `overloaded` or `timed-out`: try again after `Retry-After` seconds
    #[response(status = 503, content_type = "application/problem+json", headers(("Retry-After" = u32, description = "Seconds")))]
    Unavailable(ProblemBody),
}
