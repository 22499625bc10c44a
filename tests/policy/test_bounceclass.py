"""The words for what comes back."""

from __future__ import annotations

from mailer.policy.bounceclass import BounceClass, Group


def test_there_are_28_classes_in_10_groups_and_each_class_is_in_one() -> None:
    assert len(BounceClass) == 28
    assert {each.group for each in BounceClass} == set(Group)
    assert len(Group) == 10


def test_what_is_hard_is_about_the_recipient_alone() -> None:
    hard = {each.value for each in BounceClass if each.group is Group.HARD}
    assert hard == {"invalid-mailbox", "invalid-domain", "inactive-mailbox", "moved"}
