//! The shapes, one file per noun.

mod alerts;
mod anomalies;
mod apply;
mod basic;
mod control;
mod costs;
mod dead;
mod exec;
mod exec_frames;
mod incidents;
mod instances;
mod ipc;
mod push;
mod queues;
mod reloads;
mod retry;
mod said;
mod schedules;
mod stats;
mod status;
mod store;
mod streams;
mod tasks;
mod upgrade;
mod wait;
mod why;

pub use alerts::{
    AlertEpisode, AlertRow, AlertRule, AlertShow, AlertTestRequest, AlertTested, AlertUndelivered,
    Alerts, SilenceRequest, SilenceRow, Silences,
};
pub use anomalies::{Anomalies, AnomaliesQuery, Anomaly};
pub use apply::{Applied, ApplyRequest, Change, ChangeAction, ChangedKey};
pub use basic::{Seconds, Timestamp, V1};
pub use control::{
    Dedupe, DedupeConflict, DedupeUntil, DedupeUntilError, PriorityRequest, QueueCache,
};
pub use costs::{Costs, HostCost, InstanceCost};
pub use dead::{DeadDone, DeadEdit, DeadLetter, DeadPage, DeadQuery, DeadRequest};
pub use exec::{ExecBreach, ExecEnd, ExecLimits, ExecQuery, ExecStart, ExecUsage};
pub use exec_frames::{FRAMES, FrameError, FrameKind, Frames, frame};
pub use incidents::{IncidentChange, IncidentWord};
pub use instances::{
    Connections, Group, GroupMember, Instance, Instances, Listener, Probe, ScaleRequest, Service,
    VerbAnswer,
};
pub use ipc::{CallAnswer, CallRequest, PublishRequest, Reached, SubscribeQuery, TopicLine};
pub use push::{OnError, PushQuery, Pushed, RefusedTask};
pub use queues::{Queue, QueueCounts, Queues};
pub use reloads::Reload;
pub use retry::TaskRetry;
pub use said::{Progress, TaskLogQuery, TaskWord};
pub use schedules::{Fire, FireTime, NextFires, NextQuery, RunAnswer, Schedule, Schedules};
pub use stats::{AllStats, Figures, InstanceStats, Percentiles, Stats, StatsMark, StatsQuery};
pub use status::{DaemonStatus, Degraded, ProcessStatus, STUCK_TASKS, ScheduleSummary, Status};
pub use store::{StoreBackup, StoreCheck, StoreProblem, StoreRestore, StoreVacuum};
pub use streams::{EventLine, LogLine};
pub use tasks::{
    Attempt, AttemptUsage, ExportedTask, NewTask, StreamResult, Task, TaskExport, TaskPage,
    TaskQuery, TaskSummary,
};
pub use upgrade::{Upgrade, UpgradeReport, UpgradeRequest, UpgradeStarted};
pub use wait::{WaitCondition, WaitConditionError, WaitRequest, Waited};
pub use why::{Cause, Holder, Why};
