//! The list of all tests: the one place that names them.
//!
//! For each subject, which is a file beside this one: where a rule is written, the rule, and its tests. What calls this
//! is given the list: the table of [`tests`](super::tests), and the functions that
//! [`conformance_tests!`](crate::conformance_tests) makes.

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ($then:ident) => {
        $crate::$then! {
            messages {
                "Spec 1.0, Channels and Messages", "A message holds bytes, text, integers, floats, lists, maps, booleans and nothing" =>
                    every_type_arrives_as_it_was_sent, integers_of_64_bits_arrive_exactly,
                    floating_point_numbers_arrive_exactly, text_may_have_any_character, bytes_may_have_any_value,
                    lists_and_maps_may_be_nested;
                "Spec 1.0, Strings and Unicode", "Bytes and text are different after transit" =>
                    bytes_and_text_stay_different;
                "The asgiref suite", "The caller may alter a message after sending it" =>
                    a_message_may_be_altered_after_it_was_sent;
                "Spec 1.0, Channels and Messages", "A message of one megabyte, as JSON, is carried" =>
                    a_megabyte_of_text_is_carried, a_megabyte_of_json_is_carried_whatever_it_is_made_of,
                    a_megabyte_reaches_a_group_and_a_mailbox;
                "Spec 1.0, Specification Details", "A larger message may be refused as too large" =>
                    a_larger_message_than_the_layer_carries_is_refused_and_not_sent;
                "This crate", "What is not of the wanted type is taken, and its bytes are given" =>
                    a_message_of_another_type_is_given_as_bytes_and_is_taken;
            }
            names {
                "Spec 1.0, Channels and Messages", "Names have ASCII letters, digits, `-`, `_`, `.` and at most one `?` or `!`" =>
                    all_allowed_characters_are_taken, other_characters_and_second_marks_are_refused,
                    names_that_look_alike_are_channels_of_their_own;
                "Spec 1.0, Specification Details", "Names of at least 100 bytes are allowed" =>
                    names_of_a_hundred_bytes_are_taken, longer_names_are_refused;
                "Spec 1.0, Specification Details", "Group names have neither `?` nor `!`" =>
                    group_names_have_no_mark,
                    a_channel_and_a_group_of_one_name_have_nothing_to_do_with_each_other;
                "Spec 1.0, Specification Details", "`new_channel` makes a name that nobody has" =>
                    a_new_channel_is_the_pattern_and_something_new;
                "The asgiref suite", "`new_channel` refuses other patterns, also those of inboxes" =>
                    a_pattern_that_does_not_end_in_a_question_mark_is_refused;
                "This crate", "An inbox has a name of its own" =>
                    an_inbox_has_a_name_that_nobody_else_has, inboxes_of_one_given_name_share_nothing,
                    a_wrong_name_of_an_inbox_is_refused;
            }
            capacity {
                "Spec 1.0, Capacity", "A send to a full channel is refused, and does not wait" =>
                    a_send_to_a_full_channel_is_refused_at_once, a_full_channel_stops_no_send_to_another;
                "This crate", "The capacity is exact, with any number of senders" =>
                    a_channel_takes_all_of_its_capacity, taking_a_message_makes_room_for_one,
                    of_a_hundred_concurrent_senders_as_many_are_accepted_as_the_capacity;
                "Spec 1.0, Capacity", "The capacity of a process-specific channel is that of the part up to the `!`, shared" =>
                    the_addresses_of_an_inbox_that_is_not_read_share_one_capacity;
                "Spec 1.0, Capacity", "The capacity may be set by name or pattern" =>
                    a_pattern_gives_channels_a_capacity_of_their_own, the_first_pattern_that_matches_decides,
                    a_pattern_need_not_know_the_process_part_of_an_inbox;
                "This crate", "A sender may wait for room" =>
                    a_sender_may_wait_for_room_and_not_longer_than_it_says,
                    a_sender_that_waits_through_outages_waits_for_room_too;
            }
            delivery {
                "Spec 1.0, Channels and Messages", "A message waits in its channel until it is received" =>
                    a_message_waits_for_its_reader, each_channel_gives_its_own_messages;
                "Spec 1.0, Channels and Messages", "A message is delivered at most once, to one reader" =>
                    competing_readers_get_each_message_once, receives_of_one_client_at_once_share_the_messages,
                    one_message_wakes_one_of_many_that_wait;
                "Spec 1.0, Specification Details", "A receive waits on several channels, and returns the channel with the message" =>
                    a_receive_that_waits_is_woken_by_a_send_of_any_client,
                    a_receive_on_many_channels_is_woken_by_any_of_them, a_receive_waits_on_channels_of_all_kinds,
                    a_receive_on_no_channel_is_refused;
                "Spec 1.0, Specification Details", "A receive that does not block returns at once, with nothing if there is nothing" =>
                    try_receive_takes_what_is_there_and_waits_for_nothing;
                "Channels 4", "A receive may end after a time without a message" =>
                    a_receive_gives_up_after_its_time_and_takes_nothing_later;
                "Spec 1.0, Specification Details", "A busy channel does not starve a quiet one" =>
                    a_busy_normal_channel_does_not_starve_a_quiet_one,
                    a_busy_channel_of_one_kind_does_not_starve_a_quiet_one_of_another,
                    a_quiet_channel_is_served_while_a_busy_one_is_filled;
                "This crate", "A layer is shared by any number of tasks, and is a type parameter or an object" =>
                    many_tasks_share_one_layer, a_layer_is_a_type_parameter_and_an_object;
                "This crate", "Layers of different namespaces share nothing" =>
                    namespaces_share_nothing;
            }
            order {
                "Spec 1.0, Message Ordering", "One writer and one reader of a `?` channel see one order" =>
                    a_single_reader_channel_keeps_the_order_of_its_writer,
                    each_writer_of_a_single_reader_channel_keeps_its_order;
                "Spec 1.0, Channels and Messages", "A `?` channel is consistent everywhere: who looks finds what is there" =>
                    a_single_reader_channel_gives_at_once_what_was_sent,
                    a_single_reader_channel_may_be_read_by_another_client_later;
                "Spec 1.0, Channels and Messages", "A `?` channel has a single reader" =>
                    a_second_receive_on_a_single_reader_channel_is_refused_until_the_first_ends;
                "Spec 1.0, Message Ordering", "One writer and one reader of a `!` channel see one order" =>
                    a_mailbox_keeps_the_order_of_its_writer, an_inbox_keeps_the_order_over_its_addresses,
                    each_writer_to_a_mailbox_keeps_its_order;
                "This crate", "What one sender sends to groups and directly arrives in its order" =>
                    messages_to_groups_and_to_a_mailbox_keep_their_order,
                    messages_to_a_group_keep_their_order_on_a_single_reader_channel;
            }
            expiry {
                "Spec 1.0, Channels and Messages", "A message that was not read in time expires" =>
                    an_expired_message_is_never_delivered, an_expired_message_in_an_inbox_is_never_delivered,
                    an_expired_message_in_a_mailbox_is_never_delivered,
                    an_expired_message_of_a_group_is_never_delivered,
                    what_expired_while_a_receive_had_it_does_not_go_back;
                "Spec 1.0, Persistence", "A message is kept until it expires" =>
                    a_message_waits_for_all_of_its_expiry, a_live_message_behind_an_expired_one_is_delivered,
                    a_receive_that_waits_gets_the_next_live_message;
                "This crate", "A message may have an expiry of its own" =>
                    a_message_may_expire_before_others_or_after_them;
                "This crate", "Expired messages do not count in the capacity" =>
                    expired_messages_take_no_room, an_expired_message_beside_live_ones_takes_no_room,
                    a_full_mailbox_has_room_again_when_its_messages_have_expired;
            }
            cancel {
                "This crate", "A receive that is dropped loses, repeats and reorders nothing" =>
                    a_receive_dropped_while_it_waits_takes_no_message,
                    what_goes_back_to_a_single_reader_channel_comes_first_again,
                    what_goes_back_to_a_single_reader_channel_comes_before_what_was_sent_since,
                    receives_dropped_at_random_keep_the_ledger_and_the_order,
                    looks_dropped_at_random_keep_the_ledger,
                    reads_of_an_inbox_dropped_at_random_lose_and_reorder_nothing;
                "This crate", "What a dropped receive was given goes to the next receiver" =>
                    a_message_handed_to_a_dropped_receive_goes_to_another_client,
                    a_message_handed_to_a_dropped_receive_goes_to_one_that_waits_already;
                "This crate", "A send that is dropped sends once or not at all" =>
                    dropped_sends_send_once_or_not_at_all, a_dropped_group_send_reaches_nobody_twice;
                "This crate", "Closing goes on when it is dropped" =>
                    closing_goes_on_when_it_is_dropped;
            }
            inboxes {
                "Spec 1.0, Channels and Messages", "A process-specific channel is read by one process, whoever sends to it" =>
                    a_mailbox_gets_what_any_client_sends_to_its_name, a_receive_that_waits_in_a_mailbox_is_woken,
                    a_mailbox_is_a_stream_of_messages, what_was_sent_before_an_inbox_is_read_waits_for_it;
                "Spec 1.0, Specification Details", "It is read by the name up to the `!`; what follows is the reader's own, and is returned" =>
                    an_inbox_is_read_by_its_prefix_with_the_full_channel,
                    try_receive_takes_from_an_inbox_what_has_come,
                    mailboxes_and_the_whole_inbox_are_read_side_by_side,
                    several_that_read_an_inbox_share_its_messages;
                "The asgiref suite", "Receiving on a name with a local part is an error" =>
                    receiving_on_an_address_is_an_error;
                "This crate", "An inbox is received from by its own client, and not sent to" =>
                    receiving_from_the_inbox_of_another_client_is_an_error, nothing_is_sent_to_an_inbox_as_such;
                "This crate", "A message to a mailbox that is gone is accepted, and nobody gets it" =>
                    a_dropped_mailbox_gets_nothing_and_its_senders_are_not_told;
                "This crate", "An inbox ends with the last of its handles and mailboxes" =>
                    an_inbox_lives_as_long_as_one_of_its_handles;
            }
            slow {
                "This crate", "A mailbox that is not read is full for its senders, and what it accepted is delivered" =>
                    a_mailbox_that_is_not_read_is_reported_full, what_a_full_mailbox_accepted_is_delivered_in_order,
                    a_mailbox_has_the_capacity_of_its_name;
                "This crate", "Its neighbours do not wait for it" =>
                    the_neighbours_of_a_slow_mailbox_do_not_wait_for_it,
                    a_full_mailbox_does_not_stop_those_who_read_the_whole_inbox;
                "This crate", "It misses what its groups are sent, and counts it" =>
                    a_full_mailbox_misses_messages_of_its_groups_and_counts_them;
            }
            groups {
                "Spec 1.0, Groups", "A message to a group is sent to all its members" =>
                    a_message_to_a_group_reaches_each_member_once_and_nobody_else,
                    members_may_be_channels_of_any_kind, a_normal_channel_is_a_member_or_is_refused_by_name,
                    an_address_without_a_mailbox_may_be_a_member, a_message_to_a_group_wakes_who_waits,
                    a_group_nobody_is_in_is_no_error,
                    messages_to_several_groups_reach_a_member_of_all_once_for_each;
                "Spec 1.0, Specification Details", "Adding a member again is no error" =>
                    a_channel_that_was_added_twice_gets_a_message_once;
                "Spec 1.0, Capacity", "A send to a group drops the message for a full member, and never fails for it" =>
                    a_full_member_fails_no_send_and_does_not_get_the_message,
                    the_capacity_holds_for_messages_of_groups_too;
                "This crate", "The receipt counts queues, and names the full ones on request" =>
                    the_receipt_names_the_full_queues_on_request, a_receipt_counts_the_inbox_of_many_members_once;
            }
            members {
                "Spec 1.0, Specification Details", "Channels are added and discarded by any process; an absent one is no error" =>
                    any_client_adds_and_discards_any_channel, a_discarded_channel_gets_nothing_more,
                    discarding_who_is_not_in_the_group_is_no_error;
                "This crate", "A message reaches exactly those who were members when it was sent" =>
                    a_message_reaches_exactly_those_who_were_members_when_it_was_sent,
                    what_was_sent_to_a_member_comes_though_it_has_left_meanwhile;
                "Spec 1.0, Specification Details", "`group_channels` has the members" =>
                    the_channels_of_a_group_are_listed_and_counted;
                "This crate", "A member has the label of the last call that added it" =>
                    a_member_is_listed_with_the_label_that_it_was_added_with_last,
                    labels_may_be_any_short_text_without_white_space;
                "This crate", "A channel knows its groups, and leaves all of them" =>
                    a_channel_knows_its_groups, a_channel_leaves_all_its_groups_at_once;
                "Spec 1.0, Specification Details", "A membership ends `group_expiry` after the last add" =>
                    a_membership_ends_when_group_expiry_is_over,
                    a_membership_lasts_group_expiry_from_the_last_time_it_was_added;
                "Spec 1.0, Specification Details", "A membership lasts at least until a message on its channel expires" =>
                    a_membership_outlives_a_message_that_was_not_taken_in_time;
                "Spec 1.0, Groups", "Channels whose listener is gone are removed" =>
                    a_dropped_mailbox_leaves_its_groups,
                    the_mailboxes_of_a_closed_or_dropped_inbox_leave_their_groups;
            }
            flush {
                "Spec 1.0, Specification Details", "A flush has cleared everything when it returns, for every client" =>
                    a_flush_looks_empty_to_every_client, a_flush_empties_the_groups, a_flush_makes_room,
                    a_flush_of_nothing_and_two_at_once_do_no_harm;
                "This crate", "Receives that wait go on after a flush" =>
                    receives_that_wait_go_on_after_a_flush;
            }
            close {
                "This crate", "Closing ends receives that wait and every later call; again does nothing" =>
                    receives_that_wait_end_when_their_layer_is_closed,
                    a_sender_that_waits_for_room_ends_when_its_layer_is_closed,
                    every_later_call_says_that_the_layer_was_closed, closing_again_does_nothing,
                    a_closed_inbox_ends_alone, mailboxes_give_what_they_have_and_end;
                "This crate", "What was on its way to a closed or dropped layer goes back" =>
                    what_was_on_its_way_goes_back_when_the_layer_is_closed,
                    what_was_on_its_way_goes_back_when_the_layer_is_dropped,
                    a_closed_layer_waits_in_no_line, clients_that_close_under_load_lose_and_repeat_nothing;
                "This crate", "Other clients go on" =>
                    other_clients_go_on;
                "This crate", "The mailboxes of a closed layer leave their groups" =>
                    the_mailboxes_of_a_closed_layer_leave_their_groups;
            }
            requests {
                "This crate", "A request gets the reply of whoever serves its channel, and no other" =>
                    a_request_is_answered_by_whoever_serves_its_channel, a_mailbox_is_asked_by_its_name,
                    requests_at_once_each_get_their_own_reply, a_second_reply_reaches_nobody;
                "This crate", "A request ends in its time, and is not taken when nobody waits any more" =>
                    a_request_that_nobody_answers_ends_in_its_time_and_is_not_taken_later,
                    a_worker_sees_how_long_its_caller_still_waits,
                    a_reply_that_is_late_is_refused_and_one_that_comes_late_is_counted,
                    a_request_needs_a_time_that_a_message_can_wait, a_request_ends_when_its_layer_is_closed;
                "This crate", "A request is refused as a send is, and what is none is told" =>
                    a_request_to_a_full_channel_is_refused_at_once,
                    what_is_no_request_or_no_reply_of_the_type_is_told_and_taken;
                "This crate", "A request that is dropped, or its receive, takes nothing from others" =>
                    requests_and_their_receives_dropped_at_random_lose_no_other;
            }
            bulk {
                "This crate", "Each of many messages has an outcome of its own" =>
                    each_of_many_messages_has_an_outcome_of_its_own, each_of_many_groups_has_a_receipt_of_its_own;
            }
            events {
                "This crate", "A mailbox that is full, and has room again, is told to those who listen in its process" =>
                    a_mailbox_that_is_full_and_has_room_again_is_told;
            }
            streams {
                "This crate", "A layer is a stream of messages, or of requests, that loses nothing when it is dropped" =>
                    a_layer_is_a_stream_of_the_messages_of_some_channels, a_layer_is_a_stream_of_requests,
                    streams_dropped_at_random_lose_and_reorder_nothing,
                    a_stream_that_is_not_polled_gives_back_what_it_has_when_it_is_dropped,
                    a_stream_of_a_wrong_name_ends_with_its_refusal;
                "This crate", "The copies of a group's message share what it was decoded to" =>
                    the_copies_of_a_groups_message_are_decoded_once_for_each_type;
            }
            runtimes {
                "This crate", "Outside of a runtime a call does its work or returns an error that names it" =>
                    calls_outside_of_a_runtime_do_their_work_or_say_what_is_missing;
                "This crate", "A runtime that ends takes no message along" =>
                    what_waits_in_a_runtime_that_ends_takes_nothing_along;
                "This crate", "When the runtime of a layer has ended, everything ends" =>
                    every_call_ends_after_the_runtime_of_the_layer_has_ended;
            }
        }
    };
}
