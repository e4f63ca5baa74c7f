//! Which files an import reads and writes: no two may be the same, else it would destroy what it reads.

use std::fs::{self, File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::StdioPath;

/// So many symbolic links are followed to a file that doesn't exist yet, as Linux does.
const MAX_LINKS: usize = 40;

/// A file, by whatever name or link.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// Its device and inode.
    Existing(u64, u64),
    /// Where it would be made.
    Absent(PathBuf),
}

/// Two files of an import that are one.
#[derive(Debug, thiserror::Error)]
#[error("{} is the same file as {other}; name another file with {flag}", .path.display())]
pub(in crate::client) struct SameFile {
    path: PathBuf,
    flag: &'static str,
    other: &'static str,
}

impl Identity {
    /// `None` for pipes and devices: they may well be read and written.
    fn of_existing(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self::Existing(metadata.dev(), metadata.ino()))
    }

    fn of_input(input: &StdioPath) -> Option<Self> {
        let metadata = match input {
            StdioPath::Stdio => File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?).metadata(),
            StdioPath::File(path) => fs::metadata(path),
        };
        Self::of_existing(&metadata.ok()?)
    }

    fn of_output(path: &Path) -> Option<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            if let Ok(metadata) = fs::metadata(&path) {
                return Self::of_existing(&metadata);
            }
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match fs::read_link(&path) {
                Ok(target) => path = parent.join(target),
                Err(_) => return Some(Self::Absent(parent.canonicalize().ok()?.join(path.file_name()?))),
            }
        }
        None
    }
}

/// Refuses an import that would write over its input or its own notes.
pub(super) fn check(input: &StdioPath, results: Option<&Path>, state: Option<&Path>) -> Result<(), SameFile> {
    let mut taken = vec![("the input", Identity::of_input(input))];
    for (flag, path) in [("--results", results), ("--state", state)] {
        let Some(path) = path else { continue };
        let identity = Identity::of_output(path);
        if let Some((other, _)) = taken.iter().find(|(_, of)| of.is_some() && *of == identity) {
            return Err(SameFile { path: path.to_owned(), flag, other });
        }
        taken.push((flag, identity));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn one_file_is_known_by_each_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let [input, hard, soft, new, to_new] =
            ["in", "hard", "soft", "new", "to-new"].map(|name| dir.path().join(name));
        fs::write(&input, "x").unwrap();
        fs::hard_link(&input, &hard).unwrap();
        symlink("in", &soft).unwrap();
        symlink("new", &to_new).unwrap();
        let stdio_path = StdioPath::File(input.clone());
        for same in [&input, &hard, &soft, &dir.path().join("./in")] {
            let error = check(&stdio_path, Some(same), None).unwrap_err().to_string();
            let expected = "is the same file as the input; name another file with --results";
            assert_eq!(error, format!("{} {expected}", same.display()));
            assert!(check(&stdio_path, None, Some(same)).is_err());
        }
        let error = check(&stdio_path, Some(&new), Some(&to_new)).unwrap_err().to_string();
        assert!(error.ends_with("is the same file as --results; name another file with --state"), "{error}");
        assert!(check(&stdio_path, Some(&new), Some(&dir.path().join("other"))).is_ok());
    }

    #[test]
    fn devices_may_be_named_twice() {
        let null = Path::new("/dev/null");
        assert!(check(&StdioPath::File(null.to_owned()), Some(null), Some(null)).is_ok());
    }
}
