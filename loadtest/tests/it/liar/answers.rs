//! What the server answers, and where each lie is told.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Lie, Memory, Mind};

pub(super) async fn metrics(State(mind): State<Mind>) -> String {
    let memory = mind.memory();
    let more = |lie| u64::from(mind.lie == lie && memory.created + memory.ids > 0);
    let created = memory.created + more(Lie::CountOfLinks);
    let followed = if mind.lie == Lie::CountOfRedirects { memory.followed / 2 } else { memory.followed };
    let ids = memory.ids + more(Lie::CountOfIds);
    format!(
        "stint_build_info{{version=\"0\"}} 1\n\
         stint_links_created_total{{outcome=\"created\"}} {created}\n\
         stint_links_created_total{{outcome=\"reused\"}} {}\n\
         stint_redirects_total{{tier=\"l1\",outcome=\"found\"}} {followed}\n\
         stint_ids_issued_total{{namespace=\"loadtest\",source=\"raft\"}} {ids}\n\
         stint_id_headroom_seconds{{namespace=\"links\"}} 600\n",
        memory.reused
    )
}

pub(super) async fn create(State(mind): State<Mind>, body: Bytes) -> Response {
    if mind.lie == Lie::KnowsNoKey {
        return problem(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    if mind.lie == Lie::Slow {
        let _ = tokio::time::timeout(Duration::from_millis(60), std::future::pending::<()>()).await;
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    let Some(url) = request["url"].as_str() else { return problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid-field") };
    let mut memory = mind.memory();
    let url = stored(mind.lie, url);
    let (status, code) = match request["alias"].as_str() {
        Some(alias) => {
            if is_refused(mind.lie, alias, &memory) {
                if mind.lie == Lie::AliasLeadsElsewhere {
                    memory.links.insert(alias.to_owned(), url);
                }
                return problem(StatusCode::CONFLICT, "alias-taken");
            }
            memory.links.insert(alias.to_owned(), url.clone());
            memory.created += 1;
            (StatusCode::CREATED, alias.to_owned())
        }
        None => link(&mind, &mut memory, &url, request["reuse"] != false),
    };
    let short_url = format!("http://short/{code}");
    let body = json!({ "code": code, "short_url": short_url, "url": url }).to_string();
    (status, [(LOCATION, short_url)], body).into_response()
}

fn is_refused(lie: Lie, alias: &str, memory: &Memory) -> bool {
    match lie {
        Lie::AliasForAll => false,
        Lie::AliasForNone => true,
        _ => memory.links.contains_key(alias),
    }
}

/// The URL as it is kept: a stand-in for punycode and %XX that tells different URLs apart.
fn stored(lie: Lie, url: &str) -> String {
    let mut stored: String =
        url.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("%{:X}", u32::from(c)) }).collect();
    if lie == Lie::StoredUrl {
        stored.push('/');
    }
    stored
}

/// A new link, or the one that is there.
fn link(mind: &Mind, memory: &mut Memory, url: &str, reuse: bool) -> (StatusCode, String) {
    if reuse
        && mind.lie != Lie::NoReuse
        && let Some(code) = memory.codes.get(url).cloned()
    {
        memory.reused += 1;
        return (StatusCode::OK, code);
    }
    memory.created += 1;
    if mind.lie != Lie::CodeTwice || !memory.created.is_multiple_of(10) {
        memory.next_code += 1;
    }
    let code = format!("c{:06}", memory.next_code);
    memory.links.insert(code.clone(), url.to_owned());
    memory.makers.insert(code.clone(), mind.number);
    if reuse {
        memory.codes.insert(url.to_owned(), code.clone());
    }
    (StatusCode::CREATED, code)
}

pub(super) async fn bulk(State(mind): State<Mind>, headers: HeaderMap, body: Bytes) -> String {
    let is_lines = headers[CONTENT_TYPE] == "application/x-ndjson";
    let requests: Vec<Value> = if is_lines {
        body.split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    let mut memory = mind.memory();
    let rows = requests.iter().enumerate().map(|(index, request)| {
        let (status, code) = link(&mind, &mut memory, request["url"].as_str().unwrap(), true);
        json!({ "index": index, "status": status.as_u16(), "code": code })
    });
    let mut rows: Vec<Value> = rows.collect();
    if mind.lie == Lie::BulkRowMissing {
        rows.pop();
    }
    if is_lines { rows.iter().map(|row| row.to_string() + "\n").collect() } else { json!(rows).to_string() }
}

pub(super) async fn follow(State(mind): State<Mind>, Path(code): Path<String>) -> Response {
    let mut memory = mind.memory();
    let Some(url) = memory.links.get(&code).cloned() else { return problem(StatusCode::NOT_FOUND, "link-not-found") };
    if mind.lie == Lie::NotFoundAtFirst && memory.codes.remove(&url).is_some() {
        return problem(StatusCode::NOT_FOUND, "link-not-found");
    }
    if mind.lie == Lie::KnowsOnlyOthers && memory.makers.get(&code) == Some(&mind.number) {
        return problem(StatusCode::NOT_FOUND, "link-not-found");
    }
    memory.followed += 1;
    let is_lie = mind.lie == Lie::Location && memory.followed.is_multiple_of(10);
    let location = if is_lie { "https://elsewhere.example/".to_owned() } else { url };
    (StatusCode::FOUND, [(LOCATION, location)]).into_response()
}

pub(super) async fn namespace(State(mind): State<Mind>) -> Response {
    if mind.lie == Lie::KnowsNoKey {
        return problem(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    (StatusCode::CREATED, "{}").into_response()
}

pub(super) async fn draw(State(mind): State<Mind>, body: Bytes) -> String {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let count = request["count"].as_u64().unwrap();
    let mut memory = mind.memory();
    let draws_so_far = memory.next_code;
    memory.next_code += 1;
    if mind.lie == Lie::IdTwice && draws_so_far % 10 == 9 {
        memory.next_id -= 1;
    }
    let ids = memory.next_id + 1..=memory.next_id + count;
    memory.next_id += count;
    memory.ids += count;
    let answer = match request["as"].as_str().unwrap() {
        "number" => json!({ "ids": ids.collect::<Vec<_>>() }),
        "string" => json!({ "ids": ids.map(|id| id.to_string()).collect::<Vec<_>>() }),
        "base62" => json!({ "ids": ids.map(stint_idgen::base62::shortest).collect::<Vec<_>>() }),
        _ => json!({ "ranges": [{ "start": ids.start(), "end": ids.end() + 1 }] }),
    };
    answer.to_string()
}

fn problem(status: StatusCode, kind: &str) -> Response {
    let body = json!({ "type": format!("/docs/problems/{kind}"), "detail": "no", "status": status.as_u16() });
    (status, body.to_string()).into_response()
}
