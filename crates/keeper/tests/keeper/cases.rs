//! What is tested.

pub(crate) mod few_pids;
mod holding;
mod limits;
mod overlap;
mod spawning;
mod trees;
mod upgrading;
mod walls;

use ganger_testkit::cases::Case;

pub(crate) const ALL: &[Case] = &[
    ("a_child_runs_is_told_and_acknowledged", spawning::runs_and_ends),
    ("failures_to_start_name_step_and_errno", spawning::failures),
    ("a_repeated_spawn_starts_nothing", spawning::idempotent),
    ("a_child_sees_only_what_it_should", spawning::hygiene),
    ("a_child_of_a_crowded_keeper_has_its_own_descriptors", spawning::crowded),
    ("captured_output_has_its_size_at_the_exit", spawning::capture),
    ("a_child_learns_that_stdin_ended", spawning::stdin),
    ("a_thousand_children_are_few_mib", spawning::thousand),
    ("another_user_is_taken", spawning::identity),
    ("all_this_works_unprivileged", spawning::unprivileged),
    ("walls_hold_what_is_tried_behind_them", walls::attacked),
    ("a_build_has_an_interface_to_itself", walls::own_interface),
    ("behind_walls_the_end_is_the_programs_own", walls::ended),
    ("walls_without_a_layer_are_refused_or_told", walls::without_a_layer),
    ("children_on_their_way_at_once_are_told_in_order", overlap::in_order),
    ("what_a_child_on_its_way_was_given_stays_its_own", overlap::given),
    ("a_keeper_is_replaced_while_children_are_on_their_way", overlap::upgraded),
    ("a_network_is_one_childs_at_a_time", overlap::networks),
    ("a_hostile_tree_ends_by_cgroup", trees::by_cgroup),
    ("a_hostile_tree_ends_without_cgroups", trees::by_marker),
    ("leftovers_of_the_main_process_are_ended_and_counted", trees::leftovers),
    ("term_to_the_tree_reaches_every_process", trees::term_tree),
    ("the_memory_limit_is_told", trees::memory),
    ("limits_of_trees_are_watched_without_cgroups", limits::watched),
    ("within_its_limits_nothing_is_ended", limits::kept),
    ("processes_are_counted_in_their_user_namespace", limits::counted_by_the_kernel),
    ("signals_reach_no_stranger_where_pids_are_few", few_pids::strangers_are_safe),
    ("children_outlive_the_daemon", holding::daemon_replaced),
    ("logs_survive_the_logger", holding::logger_replaced),
    ("a_killed_keeper_is_followed", holding::keeper_replaced),
    ("keeper_and_daemon_killed_leave_no_second_copy", holding::both_killed),
    ("a_daemon_that_fails_five_times_is_told", holding::crash_loop),
    ("sigterm_asks_the_daemon_and_everything_ends", holding::orderly_end),
    ("a_second_keeper_is_refused", holding::locked),
    ("an_upgraded_keeper_loses_and_doubles_nothing", upgrading::twenty_times),
    ("a_binary_that_can_not_go_on_changes_nothing", upgrading::refused),
    ("a_sigterm_in_the_middle_of_an_upgrade_is_heard", upgrading::asked_to_end),
    ("a_daemon_that_fails_after_an_upgrade_is_followed_by_the_old_one", upgrading::rolled_back),
];
