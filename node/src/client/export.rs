//! `stint links export`: every link, one JSON object a line, codes included.

use std::io::{self, Write};
use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::atomic_file::AtomicFile;
use super::error::{ClientError, PrintFailed};
use super::http::ApiClient;
use super::record::Record;
use super::retry::RetryPolicy;
use super::{Connection, Console, FileError};
use crate::cli::StdioPath;

const PAGE: usize = 1000;

#[derive(Debug, Deserialize)]
struct LinkPage {
    links: Vec<Record>,
    next_cursor: Option<String>,
}

/// Whose links are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// Everybody's; the key must be an administrator's.
    All,
    /// The key's own.
    Own,
}

/// Pages through the links.
struct Pages {
    client: ApiClient,
    owner: Owner,
    cursor: Option<String>,
}

pub(super) async fn run(
    output: &StdioPath,
    connection: &Connection,
    console: &mut Console<'_>,
) -> anyhow::Result<ExitCode> {
    let mut pages = Pages { client: connection.client(RetryPolicy::PATIENT)?, owner: Owner::All, cursor: None };
    // Asked for first, so that a wrong key or address touches no file.
    let first = pages.first().await?;
    let count = match output {
        StdioPath::Stdio => {
            let mut write = |links: &[Record]| write_lines(console.stdout, links).map_err(PrintFailed);
            pages.write_all(first, &mut write).await?
        }
        StdioPath::File(path) => {
            let mut file = AtomicFile::create(path).map_err(FileError::of("create", path))?;
            let mut write = |links: &[Record]| write_lines(&mut file, links).map_err(FileError::of("write", path));
            let count = pages.write_all(first, &mut write).await?;
            file.commit().map_err(FileError::of("write", path))?;
            count
        }
    };
    let whose = if pages.owner == Owner::Own { " (only the key's own: it isn't an administrator's)" } else { "" };
    console.note(format_args!("exported {count} links{whose}"));
    Ok(ExitCode::SUCCESS)
}

fn write_lines(writer: &mut (impl Write + ?Sized), links: &[Record]) -> io::Result<()> {
    let mut text = Vec::new();
    for link in links {
        serde_json::to_writer(&mut text, link)?;
        text.push(b'\n');
    }
    writer.write_all(&text)?;
    writer.flush()
}

impl Pages {
    async fn first(&mut self) -> Result<Vec<Record>, ClientError> {
        match self.next().await {
            Err(ClientError::Refused(problem)) if problem.status == 403 => {
                self.owner = Owner::Own;
                self.next().await
            }
            result => result,
        }
    }

    async fn next(&mut self) -> Result<Vec<Record>, ClientError> {
        let page: LinkPage = self.client.get(&path(self.owner, self.cursor.as_deref())).await?;
        self.cursor = page.next_cursor;
        Ok(page.links)
    }

    async fn write_all<E>(
        &mut self,
        first: Vec<Record>,
        write: &mut impl FnMut(&[Record]) -> Result<(), E>,
    ) -> anyhow::Result<u64>
    where
        anyhow::Error: From<E>,
    {
        let mut links = first;
        let mut count = 0;
        loop {
            count += links.len() as u64;
            write(&links)?;
            if self.cursor.is_none() {
                return Ok(count);
            }
            links = self.next().await?;
        }
    }
}

fn path(owner: Owner, cursor: Option<&str>) -> String {
    let mut path = format!("/api/v1/links?limit={PAGE}");
    if owner == Owner::All {
        path.push_str("&owner=all");
    }
    if let Some(cursor) = cursor {
        path.push_str("&cursor=");
        path.extend(utf8_percent_encode(cursor, NON_ALPHANUMERIC));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_passed_on_whatever_it_holds() {
        assert_eq!(path(Owner::Own, Some("a+/=&b")), "/api/v1/links?limit=1000&cursor=a%2B%2F%3D%26b");
        assert_eq!(path(Owner::All, None), "/api/v1/links?limit=1000&owner=all");
    }

    #[test]
    fn a_link_is_a_line_with_the_fields_as_they_came() {
        let page: LinkPage = serde_json::from_str(
            r#"{"links":[{"code":"b","url":"http://a/\n"},{"code":"a","url":"http://b/"}],"next_cursor":null}"#,
        )
        .unwrap();
        let mut written = Vec::new();
        write_lines(&mut written, &page.links).unwrap();
        let expected = "{\"code\":\"b\",\"url\":\"http://a/\\n\"}\n{\"code\":\"a\",\"url\":\"http://b/\"}\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
