//! [`Folders`]: syncing the names of files to disk.

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What syncs files, and their names.
pub(crate) trait Disk: std::fmt::Debug + Send + Sync + 'static {
    /// Syncs what was written to a file, which has its name or is about to get it.
    fn sync_file(&self, file: &File, name: &Path) -> Result<()>;

    /// Syncs the names in a folder.
    fn sync_folder(&self, folder: &Path) -> Result<()>;
}

/// The disk of the operating system.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn sync_file(&self, file: &File, _name: &Path) -> Result<()> {
        file.sync_all()
    }

    fn sync_folder(&self, folder: &Path) -> Result<()> {
        sync_folder(folder)
    }
}

/// Which folders are known to be there after a power loss.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Below the root, and synced into the folder that they are in since this process began.
    anchored: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    /// Those below a root, which is synced, and so are those above it.
    pub(super) fn new(root: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        disk.sync_folder(root)?;
        sync_ancestors(root)?;
        Ok(Self {
            root: root.to_owned(),
            disk,
            anchored: Mutex::default(),
        })
    }

    /// The folder that all are below.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Syncs what was written to a file.
    pub(super) fn sync_file(&self, file: &File, name: &Path) -> Result<()> {
        self.disk.sync_file(file, name)
    }

    /// Syncs the folder that a file is in.
    pub(super) fn sync_parent(&self, file: &Path) -> Result<()> {
        file.parent().map_or(Ok(()), |folder| self.sync(folder))
    }

    /// Syncs a folder, and on first sight those between it and the root.
    pub(super) fn sync(&self, folder: &Path) -> Result<()> {
        self.disk.sync_folder(folder)?;
        for inner in folder.ancestors().take_while(|inner| *inner != self.root) {
            if self.anchored.lock().unwrap().contains(inner) {
                break;
            }
            if let Some(outer) = inner.parent() {
                self.disk.sync_folder(outer)?;
            }
            self.anchored.lock().unwrap().insert(inner.to_owned());
        }
        Ok(())
    }
}

/// Syncs the names in a folder to disk.
///
/// Windows has no way to do so, and syncs names with the files that they are of.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    File::open(folder)?.sync_all()
}

/// Syncs the folders that a path is in, which may have been made just now, by us or another process.
pub(crate) fn sync_ancestors(path: &Path) -> Result<()> {
    for folder in path.ancestors().skip(1) {
        match sync_folder(folder) {
            // Whoever may not open a folder has not made one in it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    Ok(())
}
