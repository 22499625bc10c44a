"""A key hands on no more than it has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.identity.rights import Excess, Rights, excess

NAMES = st.frozensets(st.sampled_from("abc"), min_size=1).map(lambda names: tuple(sorted(names)))
RIGHTS = st.builds(Rights, scopes=NAMES, streams=st.none() | NAMES, domains=st.none() | NAMES)


@given(rights=RIGHTS)
def test_every_key_can_make_its_like(rights: Rights) -> None:
    assert excess(rights, rights) is None


@given(first=RIGHTS, second=RIGHTS, third=RIGHTS)
def test_no_chain_of_keys_gains_anything(first: Rights, second: Rights, third: Rights) -> None:
    chained = excess(second, first) is None and excess(third, second) is None

    assert not chained or excess(third, first) is None


@pytest.mark.parametrize(
    ("asked", "held", "more"),
    [
        (Rights(), Rights(scopes=("send",)), Excess("scopes", ("read",))),
        (Rights(), Rights(streams=("news",)), Excess("streams", ())),
        (Rights(streams=("a", "b", "c")), Rights(streams=("b",)), Excess("streams", ("a", "c"))),
        (Rights(domains=("a.example",)), Rights(domains=("b.example",)), Excess("domains", ("a.example",))),
    ],
)
def test_what_goes_beyond_is_named(asked: Rights, held: Rights, more: Excess) -> None:
    assert excess(asked, held) == more


def test_a_limit_may_be_narrowed() -> None:
    held = Rights(streams=("a", "b"))

    assert excess(replace(held, streams=("a",)), held) is None
    assert excess(held, Rights()) is None
