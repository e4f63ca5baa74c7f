//! All routes of the public port.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::error::{Problem, ProblemKind};
use super::openapi::Document;
use super::routes::{cluster, follow, health, home, ids, keys, links, namespaces, problems};
use super::state::Api;
use super::{document, layers};

/// The routes that are part of the documented API.
pub(super) fn documented() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(links::create_link, links::list_links))
        .routes(routes!(links::bulk::create_links))
        .routes(routes!(links::get_link, links::update_link, links::delete_link))
        .routes(routes!(links::stats::link_stats))
        .routes(routes!(links::qr::qr_code))
        .routes(routes!(ids::issue_ids))
        .routes(routes!(ids::decode::decode_id))
        .routes(routes!(ids::audit::read_audit))
        .routes(routes!(namespaces::create_namespace, namespaces::list_namespaces))
        .routes(routes!(namespaces::get_namespace, namespaces::update_namespace))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(cluster::show_cluster))
        .routes(routes!(cluster::add_member))
        .routes(routes!(cluster::remove_member))
        .routes(routes!(cluster::transfer_leader))
        .routes(routes!(health::health))
        .routes(routes!(follow::follow))
}

/// The whole public port.
pub fn router(api: Arc<Api>) -> Router {
    let (router, _) = documented().split_for_parts();
    let document = Bytes::from(document());
    let docs: Router<Arc<Api>> = SwaggerUi::new("/docs")
        .config(Config::new(["/openapi.json"]).persist_authorization(true).try_it_out_enabled(true))
        .into();
    router
        // A link may be called so, too.
        .route("/api/v1/links/bulk", get(links::get_link).patch(links::update_link).delete(links::delete_link))
        .route("/", get(home::home))
        .route("/static/home.js", get(home::script))
        .route("/openapi.json", get(async move || openapi(document)))
        .route("/docs/problems/{slug}", get(problems::problem))
        .merge(docs.layer(middleware::map_response(unframed)))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), layers::around))
        .with_state(api)
}

fn openapi(document: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document)
}

/// Swagger UI remembers API keys: nobody else's page may frame it.
async fn unframed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn nothing_here(uri: Uri) -> Problem {
    let shown: String = uri.path().chars().take(100).collect();
    Problem::new(ProblemKind::NotFound, format!("nothing answers at `{shown}`; see /docs"))
}

async fn wrong_method() -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed, "use one of the methods in the `Allow` header")
}
