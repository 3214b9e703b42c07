//! Reading from async code: a few connections, each read on a blocking thread.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::error::StoreError;
use crate::store::StoreRead;

/// A cheap handle to a few read connections.
///
/// The lock below guards only the stack of connections nobody uses at the moment; it is never held across a read.
pub struct Readers<R> {
    idle: Arc<Mutex<Vec<R>>>,
    free: Arc<Semaphore>,
}

impl<R> Clone for Readers<R> {
    fn clone(&self) -> Self {
        Self { idle: Arc::clone(&self.idle), free: Arc::clone(&self.free) }
    }
}

impl<R> std::fmt::Debug for Readers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("free", &self.free.available_permits()).finish()
    }
}

impl<R: StoreRead> Readers<R> {
    /// A pool of these connections; 2 to 4 are plenty.
    #[must_use]
    pub fn new(readers: Vec<R>) -> Self {
        let free = Arc::new(Semaphore::new(readers.len()));
        Self { idle: Arc::new(Mutex::new(readers)), free }
    }

    /// Runs a read on a blocking thread of the current tokio runtime.
    ///
    /// Cancel safe: a dropped call lets a read that has begun come to its end unheard.
    ///
    /// # Errors
    /// What the read answers; [`StoreError::Closed`] when the runtime is going down.
    pub async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut R) -> Result<T, StoreError> + Send + 'static,
    {
        let permit =
            Arc::clone(&self.free).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let idle = Arc::clone(&self.idle);
        tokio::task::spawn_blocking(move || {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut reader = taken.ok_or(StoreError::Closed)?;
            let answer = read(&mut reader);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            drop(permit);
            answer
        })
        .await
        .map_err(|_| StoreError::Closed)?
    }
}
