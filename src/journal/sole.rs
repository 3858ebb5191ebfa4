//! Whether a process is the only one at a file of SQLite.
//!
//! Who dies holding work leaves its leases behind. Where nobody else has the file, all of them are of
//! the dead, and the work goes on at once instead of when they end. The system gives a lock back with
//! the process that had it, however that came to its end; who only stands still keeps it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// Tries to get in while another process is just deciding whether it is alone.
const TRIES: u32 = 100;
/// Between two of them.
const BREATH: Duration = Duration::from_millis(20);

/// The presence of a process at a file. It lasts until this is dropped.
pub(super) struct Presence {
    lock: File,
}

impl Presence {
    /// Comes to the file. True: nobody else is there, and nobody comes before [`Presence::settle`].
    /// None: this file system has no locks, so nobody can tell.
    pub(super) fn enter(database: &Path) -> std::io::Result<Option<(Self, bool)>> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(name)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some((Self { lock }, true))),
            Err(TryLockError::WouldBlock) => Ok(Some((Self { lock }, false))),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Lets others come as well.
    pub(super) async fn settle(self) -> std::io::Result<Self> {
        for _ in 0..TRIES {
            match self.lock.try_lock_shared() {
                Ok(()) => return Ok(self),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(BREATH).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(std::io::Error::other("another process is opening it and does not come to an end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_is_alone_and_the_last_that_is_left_is_not_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let enter = || Presence::enter(&path).unwrap().unwrap();
        let (first, alone) = enter();
        assert!(alone);
        assert!(!enter().1, "while somebody decides, nobody else is alone");
        let first = first.settle().await.unwrap();
        let (second, alone) = enter();
        assert!(!alone);
        let second = second.settle().await.unwrap();
        drop(first);
        assert!(!enter().1);
        drop(second);
        assert!(enter().1, "when all are gone, the next is alone");
    }
}
