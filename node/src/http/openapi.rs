//! The OpenAPI document, generated from the handlers. `docs/openapi.json` is its committed copy; a test compares them.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi as Derive};

use super::router::documented;

/// What stands around the operations.
#[derive(Derive)]
#[openapi(
    info(
        title = "Stint",
        description = "Short links, and ids that never collide.\n\nEvery error is an RFC 9457 problem; its `type` is the \
                       address of a page about it. Every answer has an `X-Request-Id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "Links", description = "Create, see, change and delete links"),
        (name = "Following", description = "What visitors do"),
        (name = "Ids", description = "Draw unique ids for anything else"),
        (name = "Keys", description = "Who may do what"),
        (name = "Operation", description = "Is it well?")
    ),
    modifiers(&KeyHeaders)
)]
pub(super) struct Document;

/// The two headers that carry an API key.
struct KeyHeaders;

impl Modify for KeyHeaders {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components
            .add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Api-Key"))));
    }
}

/// The document as JSON, pretty-printed, with a final line break.
///
/// # Panics
/// Never: the document is made of strings, numbers and lists.
pub fn document() -> String {
    let document = documented().into_openapi();
    let mut json = document.to_pretty_json().expect("the document is made of strings, numbers and lists");
    json.push('\n');
    json
}
