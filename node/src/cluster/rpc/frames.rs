//! Messages one after the other in a body that needn't end: four bytes of length, big-endian, then the message.

use std::error::Error;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::io::StreamReader;

/// A message as it stands in the body.
///
/// # Panics
/// If it has 4 GiB or more.
pub(in super::super) fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(4 + message.len());
    frame.put_u32(u32::try_from(message.len()).expect("messages are bounded by some MiB"));
    frame.extend_from_slice(message);
    frame.freeze()
}

/// The messages in `body`, of at most `max` bytes each.
///
/// # Errors
/// The body's own, one longer message, or an end in the middle of a message; then it ends.
pub(in super::super) fn frames<E: Error + Send + Sync + 'static>(
    body: impl Stream<Item = Result<Bytes, E>>,
    max: usize,
) -> impl Stream<Item = io::Result<BytesMut>> {
    let codec = LengthDelimitedCodec::builder().max_frame_length(max).new_codec();
    FramedRead::new(StreamReader::new(body.map_err(io::Error::other)), codec)
}
