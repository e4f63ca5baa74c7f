//! A damaged file is found out on a copy: redb repairs in place, and has written to the file by the time it finds that
//! it can't be repaired. What can't be used is left as it was, for whoever wants to save something from it.

use std::io;

use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

/// Opens a copy of a file's bytes in memory: some tens of megabytes, where the log is as long as it gets.
pub(super) fn open_copy(bytes: &[u8], builder: &Builder) -> Result<(), redb::Error> {
    if bytes.is_empty() {
        // redb would make a new database of it.
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, bytes)?;
    match builder.create_with_backend(copy).map_err(redb::Error::from) {
        // Memory doesn't fail: it was asked for what is not in the file.
        Err(redb::Error::Io(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error).into()),
        opened => opened.map(drop),
    }
}
