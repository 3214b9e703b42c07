//! What is tested.

mod kinds;
mod poison;
mod size;
mod takeover;
mod trouble;
mod words;

use ganger_testkit::cases::Case;

pub(crate) const ALL: &[Case] = &[
    ("an_unmodified_fork_script_is_a_worker", kinds::fork_script),
    ("an_unmodified_line_program_is_a_worker", kinds::line_program),
    ("a_worker_of_the_envelope_answers_in_batches", kinds::envelope),
    ("a_command_is_judged_by_its_exit", kinds::commands),
    ("pools_scale_and_stop", kinds::scaling),
    ("a_pool_follows_its_load_to_zero_and_back", size::autoscale),
    ("a_used_up_process_makes_room_between_tasks", size::recycle),
    ("a_crash_fails_only_what_had_started", trouble::crash),
    ("an_overdue_attempt_is_ended_before_the_next", trouble::timeouts),
    ("a_stopped_worker_is_dead_before_the_next_attempt", poison::stopped),
    ("a_task_that_always_runs_out_of_memory_is_quarantined", poison::out_of_memory),
    ("noise_and_endless_lines_are_named", trouble::garbage),
    ("a_swallowed_channel_is_named", trouble::swallowed),
    ("a_running_task_can_be_cancelled", trouble::cancel),
    ("attempts_live_on_under_a_new_daemon", takeover::envelope),
    ("a_raw_attempt_is_rerun_and_never_overlaps", takeover::raw),
    ("a_commands_result_outlives_the_daemon", takeover::command),
    ("words_of_a_node_worker_are_kept_through_a_crash_and_a_flood", words::node),
    ("words_of_a_python_worker_are_kept_through_a_crash_and_a_flood", words::python),
    ("words_outlive_the_daemon", words::takeover),
    ("workers_that_died_meanwhile_lose_nothing", takeover::died_meanwhile),
];

/// Skips with a reason where a program is missing.
#[macro_export]
macro_rules! need {
    ($program:literal) => {
        if $crate::rig::which($program).is_none() {
            println!("skipped: {} is not installed", $program);
            return;
        }
    };
}
