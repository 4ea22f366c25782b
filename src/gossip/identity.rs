//! The node's own key: 32 bytes in `data_dir/node_key`, readable by its owner alone.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};

/// Reads the key, or draws it with `draw` and writes it where there is none.
pub fn node_key(data_dir: &Path, draw: impl FnOnce() -> [u8; 32]) -> anyhow::Result<[u8; 32]> {
    let path = data_dir.join("node_key");
    match File::open(&path) {
        Ok(file) => {
            let ours = file.set_permissions(Permissions::from_mode(0o600));
            ours.with_context(|| format!("cannot keep {} from others", path.display()))?;
            let mut bytes = Vec::new();
            file.take(64).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
            match <[u8; 32]>::try_from(bytes) {
                Ok(key) => Ok(key),
                Err(_) => bail!(
                    "{} does not hold a node key of 32 bytes: restore it, or move it away for a new one",
                    path.display()
                ),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = draw();
            write_new(data_dir, &path, &key).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Whole or not at all, also when the machine stops in between.
fn write_new(data_dir: &Path, path: &Path, key: &[u8]) -> std::io::Result<()> {
    let half = path.with_extension("new");
    match std::fs::remove_file(&half) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {} // the mode is only set on a new file
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&half, path)?;
    File::open(data_dir)?.sync_all()
}
