"""What the owner of an inbox concludes from the texts of control entries, of faults that no server has at will."""

from __future__ import annotations

import time
import unittest

from channel_layer.log import Log, Operation
from channel_layer.sealing import Refused

NOW = 1_800_000_000_000
HOUR = 3_600_000


class Conclusions(unittest.TestCase):
    def setUp(self) -> None:
        self.log = Log("me")

    def read(self, *bodies: str, at: int = NOW) -> None:
        for body in bodies:
            self.log.read(body, at, set())

    def members(self) -> set[str]:
        return {f"{group} {address}" for group, members in self.log.mirror.items() for address in members}

    def begin(self, call: int, n: int) -> None:
        """Sends the `e` that is due, and reads it."""
        self.assertTrue(self.log.begin_due)
        self.log.calls(call, [Operation("e", "", "", "")])
        self.assertFalse(self.log.begin_due)
        self.log.answered(call, n, NOW, {})
        self.read(f"c{n} me:{call} e")
        self.assertIsNone(self.log.doubt)

    def page(self, call: int, body: str) -> None:
        """Asks for the page that is due, from the beginning, and reads it."""
        self.assertEqual(self.log.page_due, ("", "", ""))
        self.log.page_asked(call)
        self.read(f"w{self.log.n} {self.log.tag} {call} {body}")
        self.assertIsNone(self.log.page_due)

    def test_changes_in_order_leave_no_doubt(self) -> None:
        self.read(f"c1 : +room e {NOW + HOUR} +hall b {NOW + HOUR}", "c2 you:1 -hall b")
        self.read(f"c3 you:2 +hall e {NOW + HOUR} *e", "k3 you:2 7")
        self.assertIsNone(self.log.doubt)
        self.assertEqual(self.members(), set())
        self.assertEqual(self.log.last, ("3", "you:2"))

    def test_after_a_gap_pages_replace_the_mirror(self) -> None:
        self.read(f"c1 : +room a {NOW + HOUR}", f"c3 : +room b {NOW + HOUR}")
        self.assertEqual(self.log.doubt, "server")
        self.begin(1, 4)
        self.page(2, f">   <   :room 1 b {NOW + HOUR} c {NOW + HOUR}")
        self.assertEqual(self.members(), {"room b", "room c"})
        self.assertEqual(self.log.repairs, [])

    def test_after_r_pages_replace_the_mirror(self) -> None:
        self.read(f"c1 : +room a {NOW + HOUR}", "r")
        self.begin(1, 9)
        self.page(2, ">   <  ")
        self.assertEqual(self.members(), set())

    def test_after_a_lower_number_the_server_is_repaired(self) -> None:
        self.read(f"c1 : +room a {NOW + HOUR}", f"c2 : +room b {NOW + HOUR}")
        self.read(f"c3 : +hall c {NOW + HOUR} +room gone {NOW - 1}", "k1 : 1")
        self.assertEqual(self.log.doubt, "mirror")
        self.read("r")
        self.assertEqual(self.log.doubt, "mirror", "that the mirror is right is not replaced")
        self.begin(2, 2)
        self.page(3, f">   <   :hall 0 c {NOW + HOUR} :lobby 1 x {NOW + HOUR} :room 1 a {NOW + 7}")
        self.assertEqual({(repair.kind, repair.group, repair.address, repair.time) for repair in self.log.repairs}, {
            ("a", "hall", "c", f"{NOW + HOUR} 2"), ("a", "room", "b", f"{NOW + HOUR} 2"), ("x", "lobby", "x", f"{NOW + HOUR}"),
            ("s", "room", "a", f"{NOW + HOUR} {NOW + 7}")})
        self.assertEqual(self.members(), {"room a", "room b", "hall c"}, "who has ended is forgotten")

    def test_own_changes_that_were_answered_and_lost_are_made_true(self) -> None:
        self.read(f"c1 : +room a {NOW + HOUR}")
        joins = [Operation("+", "room", address, str(HOUR)) for address in "bc"]
        self.log.calls(1, [*joins, Operation("-", "room", "a", "")])
        self.log.answered(1, 2, NOW, {})
        self.assertEqual(self.log.last, ("", ":"), "it is not sure")
        self.read("k1 : 2")
        self.assertEqual(self.log.doubt, "mirror")
        self.read("c2 you:5 -room c")
        self.begin(3, 3)
        self.assertEqual(self.members(), {"room b"})
        self.assertEqual(self.log.mirror["room"]["b"].end, NOW + HOUR)

    def test_own_changes_that_the_server_has_and_whose_entries_are_lost_are_forgotten(self) -> None:
        self.log.calls(1, [Operation("+", "room", "b", str(HOUR))])
        self.log.answered(1, 1, NOW, {})
        self.read("k1 me:1 2")
        self.assertEqual(self.log.doubt, "server")
        self.begin(3, 2)
        self.assertEqual(self.members(), set())
        self.page(4, f">   <   :room 1 b {NOW + HOUR}")
        self.assertEqual(self.members(), {"room b"})

    def test_an_own_change_that_an_old_state_repeats_is_ignored(self) -> None:
        self.read(f"c1 me:1 +room a {NOW + HOUR}", "c2 me:2 -room a", f"c1 me:1 +room a {NOW + HOUR}")
        self.assertEqual((self.members(), self.log.doubt, self.log.last), (set(), "mirror", ("2", "me:2")))

    def test_a_flush_empties_the_mirror_at_once_whoever_is_right(self) -> None:
        self.read(f"c1 : +room a {NOW + HOUR}", "f")
        self.assertEqual((self.members(), self.log.doubt), (set(), "server"))
        self.begin(2, 3)
        self.read(f"c4 : +room a {NOW + HOUR}", "k0 : 3")
        self.log.calls(4, [Operation("e", "", "", "")])
        self.read("f")
        self.assertEqual((self.members(), self.log.doubt), (set(), "mirror"))
        self.begin(5, 3)

    def test_a_repair_that_met_a_leave_does_not_bring_the_member_back(self) -> None:
        self.read(f"c1 : +room a {NOW + HOUR}", "k0 : 1")
        self.begin(2, 1)
        self.page(3, ">   <  ")
        (repair,) = self.log.repairs
        self.log.repairs.clear()
        self.log.calls(4, [repair])
        self.read("c2 you:1 -room a", f"c3 me:4 ~room a {NOW + HOUR}")
        self.assertEqual(self.members(), set())
        self.assertEqual(self.log.repairs, [Operation("x", "room", "a", f"{NOW + HOUR}")])

    def test_a_refused_repair_makes_the_owner_walk_again(self) -> None:
        self.read(f"c1 : +room a {NOW + HOUR}", "k0 : 1")
        self.begin(2, 1)
        self.page(3, ">   <  ")
        self.log.calls(4, self.log.repairs)
        self.log.repairs = []
        self.read("c2 me:4")
        self.assertEqual(self.log.page_due, ("", "", ""))

    def test_an_e_that_does_not_come_is_sent_again(self) -> None:
        self.read("k5 you:1 1")
        self.log.calls(2, [Operation("e", "", "", "")])
        self.read("k5 you:1 3")
        self.begin(4, 6)

    def test_a_step_of_the_clock_changes_no_time_that_is_left(self) -> None:
        self.read(f"c1 : +room long {NOW + HOUR} +room short {NOW + 1}")
        time.sleep(0.01)
        self.log.clock_was_set(NOW - 24 * HOUR)
        self.assertEqual(self.members(), {"room long"})
        self.assertAlmostEqual(self.log.mirror["room"]["long"].end, NOW - 23 * HOUR, delta=1_000)
        self.assertEqual(self.log.members("room", NOW - 24 * HOUR), ["long"])
        self.assertEqual(self.log.page_due, ("", "", ""))

    def test_malformed_entries_raise_what_the_reader_of_an_inbox_expects(self) -> None:
        for body in ("c", "cx", "c1", "k1", "k1 :", "c1 : +room a", "c1 : +room a x", "c1 me:x e", "kx : 1"):
            with self.assertRaises(Refused, msg=body):
                self.read(body)
