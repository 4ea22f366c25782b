//! The directory that a replay leaves behind: all of it, or nothing.
//!
//! What is not there yet is made beside its place under another name, and moved there at the end. A directory that is
//! there, and empty, may be a link or a disk of its own, which nothing can be moved over: everything is made in a hidden
//! directory within it. Whatever ends the replay before its end removes all that was made, parents included.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

pub(super) struct Out {
    place: PathBuf,
    half: TempDir,
    /// `None`: the place was there.
    parents: Option<Parents>,
}

impl Out {
    /// `place` must not be there, or be an empty directory.
    pub fn begin(place: &Path) -> anyhow::Result<Self> {
        let shown = place.display();
        let (half, parents) = match fs::read_dir(place).map(|mut entries| entries.next().is_none()) {
            Ok(true) => (half_in(place)?, None),
            Ok(false) => bail!("--out {shown} is not empty: name another directory, or empty it"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                ensure!(fs::symlink_metadata(place).is_err(), "--out {shown} is a link to nothing: name a directory");
                ensure!(place.file_name().is_some(), "--out {shown} is not there, and its name is no directory's");
                let parents = Parents::make(parent(place))?;
                (half_in(parent(place))?, Some(parents))
            }
            Err(error) => return Err(error).with_context(|| format!("--out {shown}")),
        };
        Ok(Self { place: place.to_owned(), half, parents })
    }

    /// Where to write meanwhile.
    pub fn half(&self) -> &Path {
        self.half.path()
    }

    /// Moves everything to its place.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self { place, half, parents } = self;
        let context = || format!("cannot move the result to {}", place.display());
        let Some(parents) = parents else {
            return move_contents(half.path(), &place).with_context(context);
        };
        fs::rename(half.path(), &place).with_context(context)?;
        let _ = half.keep(); // it is elsewhere now
        parents.keep();
        sync(parent(&place)).with_context(context)
    }
}

fn parent(place: &Path) -> &Path {
    place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn half_in(folder: &Path) -> anyhow::Result<TempDir> {
    // As mkdir would have it; the user's umask says who may read it.
    let mut builder = tempfile::Builder::new();
    let made = builder.prefix(".rgsd-").permissions(Permissions::from_mode(0o777)).tempdir_in(folder);
    made.with_context(|| format!("cannot make a directory in {}", folder.display()))
}

/// All of it, or nothing: what was moved is removed when something cannot be.
fn move_contents(from: &Path, to: &Path) -> io::Result<()> {
    let mut moved = Vec::new();
    let mut move_all = || {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            fs::rename(entry.path(), &target)?;
            moved.push((target, entry.path()));
        }
        sync(to)
    };
    let outcome = move_all();
    if outcome.is_err() {
        for (target, origin) in moved {
            let _ = fs::rename(target, origin); // which is removed next
        }
    }
    outcome
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Directories that were not there before. They are removed again, unless they are kept.
struct Parents(Vec<PathBuf>);

impl Parents {
    fn make(folder: &Path) -> anyhow::Result<Self> {
        let missing = folder.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty());
        let parents = Self(missing.take_while(|ancestor| !ancestor.exists()).map(Path::to_owned).collect());
        fs::create_dir_all(folder).with_context(|| format!("cannot make the directory {}", folder.display()))?;
        Ok(parents)
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir(folder); // it stays where somebody else uses it meanwhile
        }
    }
}

#[cfg(test)]
mod tests;
