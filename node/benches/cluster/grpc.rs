//! As much of etcd's gRPC as the bench needs: puts, compare-and-swaps, and who leads.

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One connection to one member.
pub(crate) struct Etcd {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    /// Ends with this.
    _connection: JoinSet<()>,
}

/// What a compare-and-swap found.
pub(crate) enum Swap {
    Done,
    /// The counter has this value, or none yet.
    Lost(Option<u64>),
}

impl Etcd {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        Ok(Self { sender, authority: address.to_owned(), _connection: tasks })
    }

    /// Whether this member leads.
    pub(crate) async fn leads(&mut self) -> Result<bool> {
        let status = self.call("/etcdserverpb.Maintenance/Status", BytesMut::new()).await?;
        let member = field(&status, 1).and_then(|header| number(header, 2)).context("no member id")?;
        Ok(number(&status, 4) == Some(member))
    }

    pub(crate) async fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.call("/etcdserverpb.KV/Put", put(key, value)).await.map(drop)
    }

    /// Sets the counter to `new` if it is `old`, or if there is none and `old` is `None`.
    pub(crate) async fn swap(&mut self, key: &[u8], old: Option<u64>, new: u64) -> Result<Swap> {
        let mut compare = BytesMut::new();
        if let Some(old) = old {
            // Equal, by value.
            compare.extend_from_slice(&[0x10, 3]);
            bytes(&mut compare, 3, key);
            bytes(&mut compare, 7, &old.to_be_bytes());
        } else {
            // Equal, by the revision of its creation: 0.
            compare.extend_from_slice(&[0x10, 1]);
            bytes(&mut compare, 3, key);
            compare.extend_from_slice(&[0x28, 0]);
        }
        let (mut success, mut failure, mut range) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        bytes(&mut success, 2, &put(key, &new.to_be_bytes()));
        bytes(&mut range, 1, key);
        bytes(&mut failure, 1, &range);
        let mut transaction = BytesMut::new();
        bytes(&mut transaction, 1, &compare);
        bytes(&mut transaction, 2, &success);
        bytes(&mut transaction, 3, &failure);
        let answer = self.call("/etcdserverpb.KV/Txn", transaction).await?;
        if number(&answer, 2) == Some(1) {
            return Ok(Swap::Done);
        }
        // The response of the range: its first pair, the value of that.
        let value = field(&answer, 3).and_then(|op| field(op, 1)).and_then(|range| field(range, 2));
        let value = value.and_then(|pair| field(pair, 5)).and_then(|value| value.try_into().ok());
        Ok(Swap::Lost(value.map(u64::from_be_bytes)))
    }

    async fn call(&mut self, path: &str, message: BytesMut) -> Result<Vec<u8>> {
        let mut body = BytesMut::with_capacity(5 + message.len());
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len())?);
        body.extend_from_slice(&message);
        let request = Request::post(format!("http://{}{path}", self.authority))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Full::new(body.freeze()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let headers = response.headers().clone();
        let collected = response.into_body().collect().await?;
        let status =
            collected.trailers().and_then(|trailers| trailers.get("grpc-status")).or(headers.get("grpc-status"));
        let status = status.context("no grpc-status")?.to_str()?.to_owned();
        if status != "0" {
            bail!("etcd answers grpc-status {status}");
        }
        let body = collected.to_bytes();
        ensure!(body.len() >= 5, "the answer is too short");
        Ok(body[5..].to_vec())
    }
}

fn put(key: &[u8], value: &[u8]) -> BytesMut {
    let mut message = BytesMut::new();
    bytes(&mut message, 1, key);
    bytes(&mut message, 2, value);
    message
}

/// Writes a field of bytes; all of the bench's fields have numbers below 16.
fn bytes(message: &mut BytesMut, field: u8, value: &[u8]) {
    message.put_u8(field << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        message.put_u8(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    message.put_u8(u8::try_from(length).expect("seven bits"));
    message.extend_from_slice(value);
}

/// The first field of bytes with this number.
fn field(message: &[u8], wanted: u64) -> Option<&[u8]> {
    fields(message).find_map(|(number, value)| match value {
        Value::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    })
}

/// The first field with this number that is a number.
fn number(message: &[u8], wanted: u64) -> Option<u64> {
    fields(message).find_map(|(number, value)| match value {
        Value::Number(value) if number == wanted => Some(value),
        _ => None,
    })
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(value)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
