//! One `rgsd` to a data directory: a lock that ends with the process, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};

/// Held while this process owns the data directory.
#[derive(Debug)]
pub struct DataDirLock {
    file: File,
}

impl DataDirLock {
    /// Creates `data_dir` where it is missing, and locks the file `lock` in it.
    pub fn take(data_dir: &Path) -> anyhow::Result<Self> {
        let dir = data_dir.display();
        let remedy = "let the user that runs rgsd write there, or set data_dir to another directory";
        fs::create_dir_all(data_dir).with_context(|| format!("cannot create the data directory {dir}: {remedy}"))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(data_dir.join("lock"))
            .with_context(|| format!("cannot write to the data directory {dir}: {remedy}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => {
                bail!("another rgsd uses the data directory {dir}: stop it, or set data_dir to another directory")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock the data directory {dir}"))
            }
        }
    }
}

impl Drop for DataDirLock {
    /// Closing the file would do, were there not child processes: between its fork and its exec, one that another
    /// thread starts has the file open as well, and with it the lock.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
