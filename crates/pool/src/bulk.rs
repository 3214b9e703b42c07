//! Pushing many tasks at once: all groups of a request become durable in one commit, or none of them.

use ganger_queue::NewTask;
use tokio::sync::oneshot;

use crate::dispatcher::Msg;
use crate::error::TaskError;
use crate::tasks::{Pushed, Tasks, check_payloads};

/// Tasks of a request that share one idempotency key, or have none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Group {
    /// The same key within 24 hours adds nothing and answers with the ids of the first push.
    pub key: Option<Box<str>>,
    /// In order.
    pub tasks: Vec<NewTask>,
}

/// The acknowledgements to come, one per group.
pub(crate) type GroupAnswers = Vec<oneshot::Receiver<Result<Pushed, TaskError>>>;

impl Tasks {
    /// Pushes groups of tasks in one commit; returns when they are acknowledged as the queue's durability says, with an
    /// answer per group. Indexes in errors count over all groups.
    ///
    /// # Errors
    /// As [`Tasks::push`]. Nothing of any group was taken then.
    ///
    /// # Cancel safety
    /// A dropped call may have pushed; repeat it with the same keys to be sure.
    pub async fn push_groups(
        &self,
        queue: &str,
        groups: Vec<Group>,
    ) -> Result<Vec<Pushed>, TaskError> {
        check_payloads(groups.iter().flat_map(|group| &group.tasks))?;
        let (reply, answers) = oneshot::channel();
        self.tell(Msg::PushAll { queue: queue.into(), groups, reply }).await?;
        let answers = answers.await.map_err(|_| TaskError::ShuttingDown)??;
        let mut pushed = Vec::with_capacity(answers.len());
        for answer in answers {
            pushed.push(answer.await.map_err(|_| TaskError::ShuttingDown)??);
        }
        Ok(pushed)
    }

    /// Longest payload a queue takes, in bytes.
    ///
    /// # Errors
    /// No such queue.
    pub async fn payload_max(&self, queue: &str) -> Result<usize, TaskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Msg::Look { queue: Some(queue.into()), reply }).await?;
        let looks = answer.await.map_err(|_| TaskError::ShuttingDown)??;
        let look = looks.first().ok_or_else(|| TaskError::NoQueue(queue.to_owned()))?;
        Ok(look.config.payload_max)
    }
}
