//! Requests of the API, and answers as they came.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde::Serialize;

use crate::verify::fault::{Fault, Kind};

/// A request to create one link.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CreateRequest<'a> {
    /// The target.
    pub(crate) url: &'a str,
    /// The wanted code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alias: Option<&'a str>,
    /// `false`: a link of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reuse: Option<bool>,
}

/// The two forms of a bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkForm {
    /// A JSON array.
    Json,
    /// One JSON object a line.
    Ndjson,
}

/// The forms in which ids are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdForm {
    /// JSON numbers.
    Number,
    /// Decimal digits in strings.
    Text,
    /// Base62.
    Base62,
    /// Start and end.
    Ranges,
}

impl IdForm {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Number, Self::Text, Self::Base62, Self::Ranges];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "string",
            Self::Base62 => "base62",
            Self::Ranges => "ranges",
        }
    }
}

/// Makes requests: the client, and who it is.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// It follows no redirects.
    pub(crate) client: Client,
    key: Option<String>,
}

impl Api {
    /// Requests with this key, or anonymous ones.
    pub(crate) const fn new(client: Client, key: Option<String>) -> Self {
        Self { client, key }
    }

    /// Whether requests carry a key.
    pub(crate) const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// `POST /api/v1/links`
    pub(crate) fn create(&self, base: &str, request: &CreateRequest<'_>) -> RequestBuilder {
        self.post(base, "links").json(request)
    }

    /// `POST /api/v1/links` with a body that is refused, to see who may create.
    pub(crate) fn create_nothing(&self, base: &str) -> RequestBuilder {
        self.post(base, "links").json(&serde_json::json!({}))
    }

    /// `POST /api/v1/links/bulk`
    pub(crate) fn bulk(&self, base: &str, rows: &[CreateRequest<'_>], form: BulkForm) -> RequestBuilder {
        let request = self.post(base, "links/bulk");
        match form {
            BulkForm::Json => request.json(rows),
            BulkForm::Ndjson => {
                let lines = rows.iter().map(|row| serde_json::json!(row).to_string() + "\n");
                request.header(CONTENT_TYPE, "application/x-ndjson").body(lines.collect::<String>())
            }
        }
    }

    /// `GET /{code}`, without the key: following needs none.
    pub(crate) fn follow(&self, base: &str, code: &str) -> RequestBuilder {
        self.client.get(format!("{base}/{code}"))
    }

    /// `POST /api/v1/namespaces`
    pub(crate) fn namespace(&self, base: &str, name: &str) -> RequestBuilder {
        self.post(base, "namespaces").json(&serde_json::json!({ "name": name }))
    }

    /// `POST /api/v1/ids`
    pub(crate) fn draw(&self, base: &str, namespace: &str, count: u64, form: IdForm) -> RequestBuilder {
        let body = serde_json::json!({ "namespace": namespace, "count": count, "as": form.as_str() });
        self.post(base, "ids").json(&body)
    }

    fn post(&self, base: &str, path: &str) -> RequestBuilder {
        let request = self.client.post(format!("{base}/api/v1/{path}"));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }
}

/// A builder for clients that see redirects instead of following them, and ask the servers directly.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("stint-loadtest/", env!("CARGO_PKG_VERSION")))
}

/// An answer, whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// `Location`, byte for byte.
    pub(crate) location: Option<Bytes>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Reply {
    /// Sends a request and reads the answer.
    pub(crate) async fn to(request: RequestBuilder) -> Result<Self, Fault> {
        Self::read(request.send().await).await
    }

    /// Reads an answer to its end.
    pub(crate) async fn read(response: reqwest::Result<Response>) -> Result<Self, Fault> {
        let response = response.map_err(no_answer)?;
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION).map(|value| Bytes::copy_from_slice(value.as_bytes()));
        let body = response.bytes().await.map_err(no_answer)?;
        Ok(Self { status, location, body })
    }

    /// What the server says about itself not doing it: a problem's `detail`, or the beginning of the body.
    pub(crate) fn complaint(&self) -> String {
        let problem: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let field = |name: &str| problem.as_ref().and_then(|problem| problem.get(name)?.as_str().map(str::to_owned));
        match (field("type"), field("detail")) {
            (Some(kind), Some(detail)) => format!("{}: {detail}", kind.rsplit('/').next().unwrap_or_default()),
            _ => String::from_utf8_lossy(&self.body).chars().filter(|c| !c.is_control()).take(120).collect(),
        }
    }

    /// The fault of an answer that has another status than it must have.
    pub(crate) fn wrong_status(&self, expected: &str) -> Fault {
        let complaint = self.complaint();
        let complaint = if complaint.is_empty() { String::new() } else { format!(" ({complaint})") };
        Fault::new(Kind::Status(self.status), format!("it must be {expected}{complaint}"))
    }
}

/// The URL is told by who asks.
fn no_answer(error: reqwest::Error) -> Fault {
    Fault::new(Kind::NoAnswer, chain(&error.without_url()))
}

/// An error and what is behind it, without repeating what is said already.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
