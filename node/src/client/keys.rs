//! `stint keys`: making, listing and revoking API keys.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::error::ClientError;
use super::http::{ApiClient, Call};
use super::retry::RetryPolicy;
use super::table::{Align, Table, printable};
use super::{Connection, Console};
use crate::cli::{CreateKeyArgs, KeysCommand};

const PAGE: usize = 1000;

#[derive(Debug, Serialize)]
struct CreateKeyRequest<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    scopes: &'a [String],
}

#[derive(Debug, Deserialize)]
struct NewKey {
    key: String,
    #[serde(flatten)]
    entry: KeyEntry,
}

#[derive(Debug, Deserialize)]
struct KeyEntry {
    id: i64,
    name: String,
    owner: String,
    scopes: Vec<String>,
    created_at: String,
    revoked_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct KeyPage {
    keys: Vec<KeyEntry>,
    next_after: Option<i64>,
}

pub(super) async fn run(
    command: &KeysCommand,
    connection: &Connection,
    console: &mut Console<'_>,
) -> anyhow::Result<ExitCode> {
    let client = connection.client(RetryPolicy::BRIEF)?;
    match command {
        KeysCommand::Create(args) => {
            let new = create(&client, args).await?;
            let KeyEntry { id, name, owner, scopes, .. } = &new.entry;
            // The key alone goes to stdout, for scripts.
            console.note(format_args!(
                "key {id} `{}` of `{}` may {}; it can't be shown again",
                printable(name),
                printable(owner),
                scopes.join(", ")
            ));
            console.print(&new.key)?;
        }
        KeysCommand::List(_) => {
            for line in layout(list(&client).await?).lines() {
                console.print(line)?;
            }
        }
        KeysCommand::Revoke(args) => {
            client.send(&Call::delete(&format!("/api/v1/keys/{}", args.id))).await?.success()?;
            console.note(format_args!("key {} is revoked", args.id));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(client: &ApiClient, args: &CreateKeyArgs) -> Result<NewKey, ClientError> {
    let request = CreateKeyRequest { name: &args.name, owner: args.owner.as_deref(), scopes: &args.scopes };
    let body = serde_json::to_vec(&request).expect("texts are JSON");
    // No idempotency key: the server would have to keep the new key in plain to repeat its answer.
    client.send(&Call::post("/api/v1/keys", body, None)).await?.success()?.json()
}

async fn list(client: &ApiClient) -> Result<Vec<KeyEntry>, ClientError> {
    let mut keys = Vec::new();
    let mut after = 0;
    loop {
        let page: KeyPage = client.get(&format!("/api/v1/keys?limit={PAGE}&after={after}")).await?;
        keys.extend(page.keys);
        match page.next_after {
            Some(next) if next > after => after = next,
            _ => return Ok(keys),
        }
    }
}

fn layout(keys: Vec<KeyEntry>) -> Table {
    let left = Align::Left;
    let columns =
        [("ID", Align::Right), ("NAME", left), ("OWNER", left), ("SCOPES", left), ("CREATED", left), ("REVOKED", left)];
    let mut table = Table::new(columns);
    for key in keys {
        let revoked = key.revoked_at.unwrap_or_else(|| "-".to_owned());
        table.row(&[key.id.to_string(), key.name, key.owner, key.scopes.join(","), key.created_at, revoked]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_one_a_line() {
        let page: KeyPage = serde_json::from_str(
            r#"{"keys":[{"id":12,"name":"laptop","owner":"me","scopes":["links:read","ids"],
            "created_at":"2026-01-01T00:00:00Z","revoked_at":null}],"next_after":null}"#,
        )
        .unwrap();
        assert_eq!(
            layout(page.keys).lines(),
            [
                "ID  NAME    OWNER  SCOPES          CREATED               REVOKED",
                "12  laptop  me     links:read,ids  2026-01-01T00:00:00Z  -"
            ]
        );
    }

    #[test]
    fn a_new_key_is_read_whatever_else_the_server_says_of_it() {
        let new: NewKey = serde_json::from_str(
            r#"{"id":1,"key":"stint_1","name":"n","owner":"n","scopes":["admin"],"created_at":"t","more":1}"#,
        )
        .unwrap();
        assert_eq!((new.key.as_str(), new.entry.id, new.entry.revoked_at), ("stint_1", 1, None));
    }
}
