"""The suppression list by the client, against the application itself."""

from __future__ import annotations

import pytest

from mailer.client import AsyncMailer, InvalidRequest, Mailer, NotFound


def test_entries_are_added_found_and_removed(mailer: Mailer) -> None:
    made = mailer.suppressions.add("Ann@client.example", stream="transactional", note="asked")
    mailer.suppressions.add("*.away.example")

    assert mailer.suppressions.get(made.id) == made
    assert (made.target, made.stream, made.note) == ("ann@client.example", "transactional", "asked")
    assert [e.target for e in mailer.suppressions.page(search="ANN@cli").suppressions] == [made.target]
    assert {e.target for e in mailer.suppressions.each()} >= {made.target, "*.away.example"}
    assert mailer.suppressions.remove(made.id, send_again=True).sent_again == 0
    with pytest.raises(NotFound):
        mailer.suppressions.get(made.id)


def test_a_list_goes_out_and_in(mailer: Mailer) -> None:
    outcome = mailer.suppressions.import_csv(b"address,reason\nbob@list.example,complaint\nnobody\n")
    exported = mailer.suppressions.export_csv()

    assert (outcome.added, outcome.refused, [f.line for f in outcome.faults]) == (1, 1, [3])
    assert b"bob@list.example,,complaint" in exported


async def test_the_asynchronous_client_does_the_same(async_mailer: AsyncMailer) -> None:
    made = await async_mailer.suppressions.add("eve@async.example")
    found = [entry.id async for entry in async_mailer.suppressions.each(domain="async.example")]

    assert found == [made.id]
    assert (await async_mailer.suppressions.remove(made.id)).sent_again == 0
    with pytest.raises(InvalidRequest):
        await async_mailer.suppressions.add("nobody")
