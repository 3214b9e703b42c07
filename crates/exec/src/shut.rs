//! Who may run nothing for now, whatever policies say: asked before anything is decided.

use std::fmt;
use std::sync::Arc;

use ganger_audit::Principal;

type Why = dyn Fn(&Principal) -> Option<String> + Send + Sync;

/// Says why a principal may run nothing now. The default lets everybody ask. Cheap to clone; asked by every request, so it may
/// not wait.
#[derive(Clone, Default)]
pub struct Shut(Option<Arc<Why>>);

impl Shut {
    /// By this question.
    pub fn new(why: impl Fn(&Principal) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(why)))
    }

    pub(crate) fn why(&self, principal: &Principal) -> Option<String> {
        self.0.as_ref().and_then(|why| why(principal))
    }
}

impl fmt::Debug for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shut").finish_non_exhaustive()
    }
}
