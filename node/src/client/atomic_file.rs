//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file in the making, beside its place; dropping it without [`AtomicFile::commit`] removes it. What exists and is no
/// regular file (`/dev/null`, a pipe) is written to directly.
#[derive(Debug)]
pub(super) struct AtomicFile {
    writer: BufWriter<File>,
    /// Where it is made, and where it belongs.
    paths: Option<(PathBuf, PathBuf)>,
}

impl AtomicFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            let file = File::options().write(true).open(path)?;
            return Ok(Self { writer: BufWriter::new(file), paths: None });
        }
        // A symbolic link stays; what it points to is replaced.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut making = place.clone().into_os_string();
        making.push(".tmp");
        let making = PathBuf::from(making);
        let file = File::create(&making)?;
        Ok(Self { writer: BufWriter::new(file), paths: Some((making, place)) })
    }

    /// Puts the file in its place, on disk before it is seen.
    pub(super) fn commit(mut self) -> io::Result<()> {
        self.writer.flush()?;
        if let Some((making, place)) = &self.paths {
            self.writer.get_ref().sync_all()?;
            fs::rename(making, place)?;
            self.paths = None;
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some((making, _)) = &self.paths {
            let _ = fs::remove_file(making);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_given_up_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_device_is_written_to_and_stays() {
        let mut file = AtomicFile::create(Path::new("/dev/null")).unwrap();
        file.write_all(b"x").unwrap();
        file.commit().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
