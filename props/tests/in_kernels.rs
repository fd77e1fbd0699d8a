//! Every property on every kernel. See the crate's documentation.

use std::process::ExitCode;

use inflight_props::runner::{self, On, Test};
use inflight_props::{
    again, behaviour, borrowed, chances, company, cost, counters, counts, coverage, disk, doctored,
    families, guest, holds, late, leaks, loopback, packets, programs, properties, proxy, relay,
    scarcity, sockets, source, stack, tun, waiting, watch,
};

fn main() -> ExitCode {
    // Inside a kernel this program is the first process, and the test, and the
    // programs that the test starts.
    inflight::guest::init::main_if_pid1();
    match programs::as_inflight() {
        Some(status) => status,
        None => runner::main(TESTS),
    }
}

const TESTS: &[Test] = &[
    Test {
        name: "the_link_delays",
        on: On::Every,
        run: behaviour::the_link_delays,
    },
    Test {
        name: "the_link_has_a_rate",
        on: On::Every,
        run: behaviour::the_link_has_a_rate,
    },
    Test {
        name: "the_link_loses",
        on: On::Every,
        run: behaviour::the_link_loses,
    },
    Test {
        name: "a_send_returns_at_once",
        on: On::Stock,
        run: behaviour::a_send_returns_at_once,
    },
    Test {
        name: "a_send_waits_for_its_pages",
        on: On::Waiting,
        run: behaviour::a_send_waits_for_its_pages,
    },
    Test {
        name: "a_send_that_must_not_wait_is_copied",
        on: On::Patched,
        run: behaviour::a_send_that_must_not_wait_is_copied,
    },
    Test {
        name: "a_blocked_call_is_overtaken",
        on: On::Every,
        run: behaviour::a_blocked_call_is_overtaken,
    },
    Test {
        name: "a_wait_takes_its_time",
        on: On::Every,
        run: behaviour::a_wait_takes_its_time,
    },
    Test {
        name: "an_await_ends_when_another_is_blocked",
        on: On::Every,
        run: company::an_await_ends_when_another_is_blocked,
    },
    Test {
        name: "an_await_of_who_is_through_is_skipped",
        on: On::Every,
        run: company::an_await_of_who_is_through_is_skipped,
    },
    Test {
        name: "each_actor_has_its_own_connection",
        on: On::Every,
        run: company::each_actor_has_its_own_connection,
    },
    Test {
        name: "a_call_waits_for_its_own_connection_only",
        on: On::Waiting,
        run: company::a_call_waits_for_its_own_connection_only,
    },
    Test {
        name: "a_hold_lets_so_many_pass",
        on: On::Every,
        run: holds::a_hold_lets_so_many_pass,
    },
    Test {
        name: "a_release_counts_what_is_yet_to_come",
        on: On::Every,
        run: holds::a_release_counts_what_is_yet_to_come,
    },
    Test {
        name: "what_is_held_arrives_in_the_end",
        on: On::Every,
        run: holds::what_is_held_arrives_in_the_end,
    },
    Test {
        name: "packets_are_as_long_as_the_link_takes",
        on: On::Every,
        run: stack::packets_are_as_long_as_the_link_takes,
    },
    Test {
        name: "a_probe_finds_longer_packets",
        on: On::Every,
        run: stack::a_probe_finds_longer_packets,
    },
    Test {
        name: "the_stack_is_set_for_one_scenario",
        on: On::Every,
        run: stack::the_stack_is_set_for_one_scenario,
    },
    Test {
        name: "the_buffers_of_the_stack_limit_a_send",
        on: On::Every,
        run: stack::the_buffers_of_the_stack_limit_a_send,
    },
    Test {
        name: "what_is_corrupt_is_lost",
        on: On::Every,
        run: chances::what_is_corrupt_is_lost,
    },
    Test {
        name: "losses_come_in_bursts",
        on: On::Every,
        run: chances::losses_come_in_bursts,
    },
    Test {
        name: "chances_follow_each_other",
        on: On::Every,
        run: chances::chances_follow_each_other,
    },
    Test {
        name: "a_gap_spaces_what_overtakes",
        on: On::Every,
        run: chances::a_gap_spaces_what_overtakes,
    },
    Test {
        name: "packets_leave_in_slots",
        on: On::Every,
        run: chances::packets_leave_in_slots,
    },
    Test {
        name: "packets_are_longer_on_the_wire",
        on: On::Every,
        run: chances::packets_are_longer_on_the_wire,
    },
    Test {
        name: "jitter_has_a_distribution",
        on: On::Every,
        run: chances::jitter_has_a_distribution,
    },
    Test {
        name: "a_mark_takes_the_place_of_a_loss",
        on: On::Every,
        run: chances::a_mark_takes_the_place_of_a_loss,
    },
    Test {
        name: "what_is_lent_is_given_back",
        on: On::Every,
        run: borrowed::what_is_lent_is_given_back,
    },
    Test {
        name: "a_wait_for_what_stays_lent_ends",
        on: On::Every,
        run: borrowed::a_wait_for_what_stays_lent_ends,
    },
    Test {
        name: "only_what_was_sent_is_counted",
        on: On::Every,
        run: borrowed::only_what_was_sent_is_counted,
    },
    Test {
        name: "nobody_lends_behind_a_ring",
        on: On::Stock,
        run: borrowed::nobody_lends_behind_a_ring,
    },
    Test {
        name: "a_stream_lends_behind_a_ring",
        on: On::Patched,
        run: borrowed::a_stream_lends_behind_a_ring,
    },
    Test {
        name: "families_lend_or_refuse",
        on: On::Every,
        run: borrowed::families_lend_or_refuse,
    },
    Test {
        name: "a_packet_is_known_by_its_number",
        on: On::Every,
        run: tun::a_packet_is_known_by_its_number,
    },
    Test {
        name: "loopback_is_a_link",
        on: On::Every,
        run: loopback::loopback_is_a_link,
    },
    Test {
        name: "each_family_takes_its_way",
        on: On::Every,
        run: families::each_family_takes_its_way,
    },
    Test {
        name: "a_send_is_a_datagram",
        on: On::Every,
        run: families::a_send_is_a_datagram,
    },
    Test {
        name: "packets_keep_their_boundaries",
        on: On::Every,
        run: families::packets_keep_their_boundaries,
    },
    Test {
        name: "a_poll_loop_sends_all",
        on: On::Every,
        run: sockets::a_poll_loop_sends_all,
    },
    Test {
        name: "acknowledgements_are_quick_or_late",
        on: On::Every,
        run: sockets::acknowledgements_are_quick_or_late,
    },
    Test {
        name: "bbr_paces",
        on: On::Every,
        run: sockets::bbr_paces,
    },
    Test {
        name: "unsent_bytes_are_bounded",
        on: On::Every,
        run: sockets::unsent_bytes_are_bounded,
    },
    Test {
        name: "a_file_is_on_ext4",
        on: On::Every,
        run: disk::a_file_is_on_ext4,
    },
    Test {
        name: "a_direct_write_passes_the_page_cache",
        on: On::Every,
        run: disk::a_direct_write_passes_the_page_cache,
    },
    Test {
        name: "a_zeroed_range_is_zeros",
        on: On::Every,
        run: disk::a_zeroed_range_is_zeros,
    },
    Test {
        name: "a_collapse_moves_what_lies_behind",
        on: On::Every,
        run: disk::a_collapse_moves_what_lies_behind,
    },
    Test {
        name: "the_disk_does_not_fill_up",
        on: On::Every,
        run: disk::the_disk_does_not_fill_up,
    },
    Test {
        name: "the_end_of_the_file_ends_the_datagram",
        on: On::Patched,
        run: families::the_end_of_the_file_ends_the_datagram,
    },
    Test {
        name: "datagrams_get_lost",
        on: On::Every,
        run: families::datagrams_get_lost,
    },
    Test {
        name: "the_kernel_knows_the_protocols",
        on: On::Every,
        run: families::the_kernel_knows_the_protocols,
    },
    Test {
        name: "the_own_reader_gets_what_fits",
        on: On::Every,
        run: waiting::the_own_reader_gets_what_fits,
    },
    Test {
        name: "the_own_reader_is_not_waited_for_for_ever",
        on: On::Every,
        run: waiting::the_own_reader_is_not_waited_for_for_ever,
    },
    Test {
        name: "a_fork_changes_nothing",
        on: On::Every,
        run: waiting::a_fork_changes_nothing,
    },
    Test {
        name: "a_child_inherits_the_connection",
        on: On::Every,
        run: waiting::a_child_inherits_the_connection,
    },
    Test {
        name: "a_close_by_another_thread_changes_nothing",
        on: On::Every,
        run: waiting::a_close_by_another_thread_changes_nothing,
    },
    Test {
        name: "a_closed_window_is_waited_for",
        on: On::Every,
        run: waiting::a_closed_window_is_waited_for,
    },
    Test {
        name: "a_closed_window_is_not_waited_for_for_long",
        on: On::Every,
        run: waiting::a_closed_window_is_not_waited_for_for_long,
    },
    Test {
        name: "a_kill_ends_the_wait_and_leaves_nothing",
        on: On::Every,
        run: waiting::a_kill_ends_the_wait_and_leaves_nothing,
    },
    Test {
        name: "a_pipe_buffer_may_be_larger_than_a_page",
        on: On::Every,
        run: relay::a_pipe_buffer_may_be_larger_than_a_page,
    },
    Test {
        name: "a_relay_passes_everything_on",
        on: On::Every,
        run: proxy::a_relay_passes_everything_on,
    },
    Test {
        name: "a_relay_takes_what_it_has_room_for",
        on: On::Every,
        run: proxy::a_relay_takes_what_it_has_room_for,
    },
    Test {
        name: "a_relay_sends_by_reference",
        on: On::Patched,
        run: proxy::a_relay_sends_by_reference,
    },
    Test {
        name: "a_truncate_cuts_and_extends",
        on: On::Every,
        run: source::a_truncate_cuts_and_extends,
    },
    Test {
        name: "a_punch_makes_a_hole",
        on: On::Every,
        run: source::a_punch_makes_a_hole,
    },
    Test {
        name: "a_sparse_file_is_zeros",
        on: On::Every,
        run: source::a_sparse_file_is_zeros,
    },
    Test {
        name: "a_second_mapping_has_the_same_pages",
        on: On::Every,
        run: source::a_second_mapping_has_the_same_pages,
    },
    Test {
        name: "stores_end_where_the_file_does",
        on: On::Every,
        run: source::stores_end_where_the_file_does,
    },
    Test {
        name: "a_call_moves_so_much_and_no_more",
        on: On::Every,
        run: counts::a_call_moves_so_much_and_no_more,
    },
    Test {
        name: "a_scenario_does_the_same_each_time",
        on: On::Every,
        run: again::a_scenario_does_the_same_each_time,
    },
    Test {
        name: "a_watched_scenario_does_the_same",
        on: On::Every,
        run: packets::a_watched_scenario_does_the_same,
    },
    Test {
        name: "packets_carry_what_is_received",
        on: On::Every,
        run: packets::packets_carry_what_is_received,
    },
    Test {
        name: "a_history_outlives_its_packets",
        on: On::Every,
        run: packets::a_history_outlives_its_packets,
    },
    Test {
        name: "a_watch_that_fails_leaves_nothing",
        on: On::Every,
        run: packets::a_watch_that_fails_leaves_nothing,
    },
    Test {
        name: "a_packet_is_torn_in_the_queue",
        on: On::Stock,
        run: packets::a_packet_is_torn_in_the_queue,
    },
    Test {
        name: "a_packet_is_whole_in_the_queue",
        on: On::Patched,
        run: packets::a_packet_is_whole_in_the_queue,
    },
    Test {
        name: "wire_is_the_file",
        on: On::Every,
        run: properties::wire_is_the_file,
    },
    Test {
        name: "datagrams_are_whole",
        on: On::Every,
        run: properties::datagrams_are_whole,
    },
    Test {
        name: "source_is_untouched",
        on: On::Every,
        run: properties::source_is_untouched,
    },
    Test {
        name: "counts_add_up",
        on: On::Every,
        run: properties::counts_add_up,
    },
    Test {
        name: "everything_ends",
        on: On::Every,
        run: properties::everything_ends,
    },
    Test {
        name: "the_log_is_clean",
        on: On::Every,
        run: properties::the_log_is_clean,
    },
    Test {
        name: "completion_means_released",
        on: On::Every,
        run: properties::completion_means_released,
    },
    Test {
        name: "each_property_can_be_broken",
        on: On::Every,
        run: doctored::each_property_can_be_broken,
    },
    Test {
        name: "patched_is_never_slower_than_one_rtt",
        on: On::Patched,
        run: late::patched_is_never_slower_than_one_rtt,
    },
    Test {
        name: "a_held_acknowledgement_is_slower_than_one_rtt",
        on: On::Waiting,
        run: late::a_held_acknowledgement_is_slower_than_one_rtt,
    },
    Test {
        name: "model_and_kernel_agree",
        on: On::Every,
        run: properties::model_and_kernel_agree,
    },
    Test {
        name: "model_and_cured_kernel_agree",
        on: On::Patched,
        run: properties::model_and_cured_kernel_agree,
    },
    Test {
        name: "model_agrees_on_the_corpus",
        on: On::Every,
        run: properties::model_agrees_on_the_corpus,
    },
    Test {
        name: "nothing_leaks",
        on: On::Every,
        run: properties::nothing_leaks,
    },
    Test {
        name: "what_is_kept_is_counted",
        on: On::Every,
        run: leaks::what_is_kept_is_counted,
    },
    Test {
        name: "stable_on_return",
        on: On::Patched,
        run: properties::stable_on_return,
    },
    Test {
        name: "stable_on_return_is_broken",
        on: On::Stock,
        run: properties::stable_on_return_is_broken,
    },
    Test {
        name: "the_guest_does_what_it_is_told",
        on: On::Every,
        run: guest::does_what_it_is_told,
    },
    Test {
        name: "the_guest_hears_the_kernel",
        on: On::Every,
        run: guest::hears_the_kernel,
    },
    Test {
        name: "a_large_file_waits_a_round_trip_at_most",
        on: On::Patched,
        run: cost::a_large_file_waits_a_round_trip_at_most,
    },
    Test {
        name: "no_call_is_slower_than_a_notification",
        on: On::Patched,
        run: cost::no_call_is_slower_than_a_notification,
    },
    Test {
        name: "the_programs_of_2008_are_torn",
        on: On::Stock,
        run: programs::are_torn,
    },
    Test {
        name: "the_programs_of_2008_are_clean",
        on: On::Patched,
        run: programs::are_clean,
    },
    Test {
        name: "a_wait_is_counted",
        on: On::Waiting,
        run: counters::a_wait_is_counted,
    },
    Test {
        name: "a_copy_is_counted",
        on: On::Patched,
        run: counters::a_copy_is_counted,
    },
    Test {
        name: "a_detached_page_is_counted",
        on: On::Detaching,
        run: counters::a_detached_page_is_counted,
    },
    Test {
        name: "the_code_of_tasks_and_of_softirqs_is_counted",
        on: On::Counting,
        run: coverage::the_code_of_tasks_and_of_softirqs_is_counted,
    },
    Test {
        name: "a_wait_is_traced",
        on: On::WatchfulWaiting,
        run: counters::a_wait_is_traced,
    },
    Test {
        name: "sendfile_survives_scarcity",
        on: On::Watchful,
        run: scarcity::sendfile_survives_it,
    },
    Test {
        name: "splice_survives_scarcity",
        on: On::Watchful,
        run: scarcity::splice_survives_it,
    },
    Test {
        name: "a_use_after_free_is_reported",
        on: On::Watchful,
        run: watch::a_use_after_free_is_reported,
    },
    Test {
        name: "sleeping_in_atomic_context_is_reported",
        on: On::WatchfulSleeping,
        run: watch::sleeping_in_atomic_context_is_reported,
    },
    Test {
        name: "a_lock_inversion_is_reported",
        on: On::Watchful,
        run: watch::a_lock_inversion_is_reported,
    },
    Test {
        name: "a_leak_is_reported",
        on: On::Watchful,
        run: watch::a_leak_is_reported,
    },
];
