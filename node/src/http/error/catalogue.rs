//! Every problem Stint answers with: its stable name, status and title.

use axum::http::StatusCode;

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $variant:ident: $slug:literal, $status:ident, $title:literal;)+) => {
        /// Which problem it is. The slug is part of the API: it never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ProblemKind {
            /// Every problem.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, the last segment of `type`.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug,)+ }
            }

            /// The HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// The short summary.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What a reader should know about the problem.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+),)+ }
            }
        }
    };
}

problems! {
    /// The body is not the JSON that the operation takes: it is cut short, not UTF-8, or breaks JSON's rules.
    MalformedBody: "malformed-body", BAD_REQUEST, "The body is not valid JSON";
    /// A query parameter is unknown, repeated, or has a value that can't be used.
    InvalidQuery: "invalid-query", BAD_REQUEST, "A query parameter can't be used";
    /// `Idempotency-Key` must be 1 to 255 printable ASCII characters, given once.
    InvalidIdempotencyKey: "invalid-idempotency-key", BAD_REQUEST, "The idempotency key can't be used";
    /// The operation needs an API key, in `Authorization: Bearer KEY` or `X-Api-Key: KEY`, that is known and not revoked.
    Unauthorized: "unauthorized", UNAUTHORIZED, "A valid API key is needed";
    /// The API key is good, but lacks the scope that the operation needs, or the thing belongs to another owner.
    Forbidden: "forbidden", FORBIDDEN, "The API key may not do this";
    /// Nothing answers at this path.
    NotFound: "not-found", NOT_FOUND, "There is nothing here";
    /// No link has this code or alias. Codes are case-sensitive.
    LinkNotFound: "link-not-found", NOT_FOUND, "There is no such link";
    /// No namespace has this name. Namespaces are made with POST /api/v1/namespaces.
    NamespaceNotFound: "namespace-not-found", NOT_FOUND, "There is no such namespace";
    /// The namespace can't have this id: it lies outside the namespace's span, or in another offset's sequence; or the text
    /// is no id at all.
    IdNotFound: "id-not-found", NOT_FOUND, "There is no such id";
    /// No API key has this number.
    KeyNotFound: "key-not-found", NOT_FOUND, "There is no such API key";
    /// The path exists, but not for this method; the `Allow` header lists those that work.
    MethodNotAllowed: "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The body did not arrive in time.
    BodyTooSlow: "body-too-slow", REQUEST_TIMEOUT, "The body took too long";
    /// Another link has this alias. An alias is never given to another link, not even after its own was deleted.
    AliasTaken: "alias-taken", CONFLICT, "The alias is taken";
    /// The namespace exists already, with other settings, which can't be changed.
    NamespaceDiffers: "namespace-differs", CONFLICT, "The namespace has other settings";
    /// No more namespaces can be made: each is a little of the allocator's memory, for ever.
    TooManyNamespaces: "too-many-namespaces", CONFLICT, "There are too many namespaces";
    /// The namespace has issued its last id. Nothing wraps around.
    IdsExhausted: "ids-exhausted", CONFLICT, "No ids are left";
    /// As many ids as the namespace's quota allows are handed out to nodes. An admin can raise the quota.
    QuotaReached: "quota-reached", CONFLICT, "The namespace's quota is reached";
    /// The allocators' members can't be changed like that; the detail says why, and what to do. Nothing was changed.
    MemberChangeRefused: "member-change-refused", CONFLICT, "The cluster's members can't be changed like that";
    /// The link was deleted by its owner. Its code is never used again.
    LinkDeleted: "link-deleted", GONE, "The link was deleted";
    /// The link's expiry has passed.
    LinkExpired: "link-expired", GONE, "The link has expired";
    /// The link could be followed a limited number of times, and was.
    LinkUsedUp: "link-used-up", GONE, "The link's visits are used up";
    /// The body is larger than the server takes.
    BodyTooLarge: "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The operation takes JSON, announced as `Content-Type: application/json`.
    UnsupportedMediaType: "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";
    /// A field is unknown, missing, repeated, or has a value that can't be used; `field` names it.
    InvalidField: "invalid-field", UNPROCESSABLE_ENTITY, "A field can't be used";
    /// The target must be an http, https or ftp URL with a host, at most 8,192 bytes, without spaces or control characters.
    InvalidUrl: "invalid-url", UNPROCESSABLE_ENTITY, "The URL can't be shortened";
    /// The target is Stint's own host: the link would lead in a circle.
    LinkLoop: "link-loop", UNPROCESSABLE_ENTITY, "The URL leads back to this service";
    /// An alias has 1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`.
    InvalidAlias: "invalid-alias", UNPROCESSABLE_ENTITY, "The alias can't be used";
    /// The alias is kept for the service's own pages: it begins with `_` or is a reserved word, in any case.
    AliasReserved: "alias-reserved", UNPROCESSABLE_ENTITY, "The alias is reserved";
    /// The idempotency key came with another request within the last 24 hours. Use a new key for a new request.
    IdempotencyKeyReused: "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The idempotency key belongs to another request";
    /// You did more of this than one client may, in the time that `RateLimit-Policy` names. Nothing was done. Try again after
    /// `Retry-After` seconds.
    RateLimited: "rate-limited", TOO_MANY_REQUESTS, "Too many requests";
    /// The server made a mistake. It is logged under the request id.
    Internal: "internal", INTERNAL_SERVER_ERROR, "The server made a mistake";
    /// Something the server needs is away for the moment. Try again after `Retry-After` seconds; a create that is repeated
    /// with its `Idempotency-Key` never makes a second link.
    Unavailable: "unavailable", SERVICE_UNAVAILABLE, "The service is not available";
    /// The server has more to do than it can; nothing was changed. Try again after `Retry-After` seconds.
    Overloaded: "overloaded", SERVICE_UNAVAILABLE, "The service is overloaded";
    /// The request took too long and was given up; a write may have been made. Repeat it with an `Idempotency-Key`.
    TimedOut: "timed-out", SERVICE_UNAVAILABLE, "The request took too long";
}
