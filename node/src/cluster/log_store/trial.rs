//! A damaged file is found out on a copy: redb repairs in place, and has written to the file by the time it finds that
//! it can't be repaired. What can't be used is left as it was, for whoever wants to save something from it.

use std::fs;
use std::io;
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

/// Opens a copy of the file in memory; a few megabytes.
pub(super) fn open_copy(path: &Path, builder: &Builder) -> Result<(), redb::Error> {
    let bytes = fs::read(path)?;
    if bytes.is_empty() {
        // redb would make a new database of it.
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, &bytes)?;
    drop(bytes);
    Ok(builder.create_with_backend(copy).map(drop)?)
}
