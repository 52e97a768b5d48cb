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
                    a_sender_may_wait_for_room_and_not_longer_than_it_says;
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
                "This crate", "Expired messages do not count in the capacity" =>
                    expired_messages_take_no_room, a_full_mailbox_has_room_again_when_its_messages_have_expired;
            }
        }
    };
}
