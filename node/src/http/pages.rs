//! The few HTML pages: small, without scripts from anywhere, readable without style.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use html_escape::{encode_double_quoted_attribute, encode_text};

use super::error::{Problem, ProblemKind};

/// The media type of pages.
pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.4rem}code,a{overflow-wrap:anywhere}pre{background:#f4f4f4;padding:.8rem;overflow-x:auto}\
input,button{font:inherit;padding:.4rem .6rem}input{width:70%}img{width:12rem;margin:1rem 0}\
footer{margin-top:3rem;color:#777;font-size:.85rem}";

/// Whether the client is a browser that wants a page.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    accept(headers).is_some_and(|accept| accept.contains("text/html"))
}

/// Whether the client asks for JSON.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    accept(headers).is_some_and(|accept| accept.contains("json") && !accept.contains("text/html"))
}

fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT)?.to_str().ok()
}

/// Headers of every page: it loads nothing from elsewhere, is framed by nobody, and gives no referrer away.
pub(super) fn protect(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
                          img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let pairs: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in pairs {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>{STYLE}</style></head>\
         <body>{body}</body></html>\n",
        title = encode_text(title),
    )
}

/// Where a link leads.
pub(super) fn preview(code: &str, url: &str, host: Option<&str>, expires_at: Option<&str>) -> String {
    let host = host.map_or_else(String::new, |host| format!("<p>Host: <strong>{}</strong></p>", encode_text(host)));
    let expiry = expires_at.map_or_else(String::new, |expiry| format!("<p>Leads there until {expiry}</p>"));
    let body = format!(
        "<h1>Where <code>{code}</code> leads</h1>{host}\
         <p><a rel=\"noreferrer nofollow\" href=\"{href}\"><code>{shown}</code></a></p>{expiry}\
         <p>Nothing was opened or counted yet.</p>",
        code = encode_text(code),
        href = encode_double_quoted_attribute(url),
        shown = encode_text(url),
    );
    page(&format!("Preview of {code}"), &body)
}

/// What went wrong, for somebody who followed a link.
pub(super) fn problem(problem: &Problem, request_id: &str) -> String {
    let body = format!(
        "<h1>{title}</h1><p>{detail}</p><footer>Request {request_id}</footer>",
        title = problem.kind().title(),
        detail = encode_text(problem.detail()),
        request_id = encode_text(request_id),
    );
    page(problem.kind().title(), &body)
}

/// What a kind of problem means.
pub(super) fn explanation(kind: ProblemKind) -> String {
    let body = format!(
        "<h1>{title}</h1><p><code>/docs/problems/{slug}</code>, status {status}</p><p>{text}</p>\
         <p><a href=\"/docs/\">API documentation</a></p>",
        title = kind.title(),
        slug = kind.slug(),
        status = kind.status().as_u16(),
        text = encode_text(kind.explanation().trim()),
    );
    page(kind.title(), &body)
}

/// The front page: shorten a URL by hand, or find the documentation.
pub(super) fn home(public_url: &str, anonymous_create: bool) -> String {
    let key = if anonymous_create {
        ""
    } else {
        "<p><label>API key <input name=\"key\" type=\"password\" autocomplete=\"off\" required></label></p>"
    };
    let body = format!(
        "<h1>Stint</h1><form id=\"shorten\">{key}<p><input name=\"url\" type=\"url\" required autofocus \
         aria-label=\"URL to shorten\" placeholder=\"https://example.com/a/long/address\"> \
         <button>Shorten</button></p></form><p id=\"result\" role=\"status\"></p>\
         <noscript><p>Without scripts: <code>curl {url}/api/v1/links -H 'Content-Type: application/json' \
         -d '{{\"url\":\"https://example.com/\"}}'</code></p></noscript>\
         <footer><a href=\"/docs/\">API documentation</a> · add <code>+</code> to a short URL to see where it leads\
         </footer><script src=\"/static/home.js\"></script>",
        url = encode_text(public_url),
    );
    page("Stint", &body)
}

/// The front page's script.
pub(super) const HOME_SCRIPT: &str = include_str!("home.js");
