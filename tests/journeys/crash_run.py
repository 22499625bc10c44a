"""One crash journey: load, faults while it flows, the drain, and the reckoning of all records."""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mailer import clock
from tests.journeys.inbox_receiver import InboxReceiver
from tests.support.faults import Fault, Receiver, Scene, Server, Struck, strike
from tests.support.instance import Instance, Ledger, installed, wait_for
from tests.support.load import MIXED, Accepted, Load, LoadPlan, running_load
from tests.support.processes import free_port
from tests.support.reconcile import Findings, Notices, Told, reconcile
from tests.support.sink import UNANSWERED, DotRead, Sink, running_sink
from tests.support.stepping import set_clock, stepped
from tests.support.tcp_proxy import CommitThief

SEED = int(os.environ.get("CRASH_SEED", "20261122"))
SENDER_DOMAIN = "crash.example.org"
SENDER = f"shop@{SENDER_DOMAIN}"
LEASE_SECONDS = 3.0
SWEEP_SECONDS = 0.5
_SINK_DELAY = 0.025  # seconds
_DOT_SECONDS = 3.0
_DRAIN_SECONDS = 120.0
_SAMPLE = 200  # messages read one by one beside those in doubt
_CLOCK_SLACK = 0.05  # seconds between a look and what it saw
FINAL = ("delivered", "bounced", "expired", "cancelled", "suppressed")


def shuffled(faults: Sequence[Fault], name: str) -> list[Fault]:
    """In an order that the seed gives."""
    return random.Random(f"{SEED}/{name}").sample(faults, len(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashPlan:
    """What a journey does. Notices of what bounced go to the sink as well.

    name       prefix of its messages' ids
    messages   that are accepted at least, in batches and without
    per_second messages that are begun a second, beside the batches that faults order
    settings   of the product beside those of every journey
    ledger_url the database as the harness reaches it; None: SQLite in the data folder
    clock      whether the product runs under libfaketime
    to_inbox   whether mail goes to the product's inbox, not to the sink
    """

    name: str
    faults: Sequence[Fault]
    messages: int
    per_second: float
    settings: Mapping[str, str] = field(default_factory=dict)
    ledger_url: str | None = None
    postgres: Server | None = None
    broker: Server | None = None
    thief: CommitThief | None = None
    clock: bool = False
    to_inbox: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """How it went.

    doubts_by_fault  attempts in doubt that the sink did not bring about, by the fault they were open at
    refused          answers that refused for good: none is expected
    unknown          requests whose answer was missed and asked for again
    by_door          messages accepted
    replayed         by the bid of a batch's first message: how many an earlier submission of it had brought
    """

    plan: CrashPlan
    findings: Findings
    notices: Notices
    struck: Sequence[Struck]
    doubts_by_fault: Mapping[int, int]
    refused: Sequence[str]
    unknown: int
    by_door: Mapping[str, int]
    replayed: Mapping[str, int]
    verify_code: int
    verify: Mapping[str, Any]

    def summary(self) -> str:
        """What a reader of the run wants to see."""
        f = self.findings
        stuck = [s.stuck_seconds for s in self.struck if s.stuck_seconds is not None]
        lines = [
            f"{self.plan.name}: seed {SEED}, {f.messages} messages {dict(self.by_door)}, "
            f"{f.recipients} recipients {dict(f.states)}, {len(self.struck)} faults, "
            f"{self.unknown} answers missed and asked for again",
            f"  {len(f.broken)} promises broken, {f.duplicates} duplicates (all in doubt unless said), "
            f"{f.doubts} attempts in doubt ({f.scripted_doubts} by the sink), "
            f"dead leases stood at most {max(stuck, default=0):.2f} s",
            f"  {len(self.replayed)} batches, {sum(s.fault.cuts_batch for s in self.struck)} of them cut,"
            f" with {sum(self.replayed.values())} messages that were there already; {self.notices}",
        ]
        for number, s in enumerate(self.struck):
            lines.append(
                f"  {number:2} {s.fault.name:34} sessions {s.seen.sessions:2} (after dot "
                f"{s.seen.after_dot:2}), leased {s.seen.leased:3}, "
                f"202s {s.seen.accepted:5} +{s.accepted_after:4}, "
                f"in doubt {self.doubts_by_fault.get(number, 0)}"
                + f", attempts open for {s.open_seconds:.1f} s"
                + (f", leases stood {s.stuck_seconds:.2f} s" if s.stuck_seconds is not None else "")
                + (f", {s.seen.committed} of a batch committed" if s.fault.is_amid_batch else "")
            )
        return "\n".join(lines)

    def broken(self) -> list[str]:
        """Every promise that was not kept, as a sentence; empty when all were."""
        out = [*self.findings.broken, *self.notices.broken()]
        out += [f"refused: {line}" for line in self.refused]
        if self.verify_code:
            out.append(f"`mailer verify` found {self.verify}")
        if self.findings.messages < self.plan.messages:
            out.append(f"only {self.findings.messages} messages were accepted")
        doors = ["http", "smtp", *(["batch"] if any(f.is_amid_batch for f in self.plan.faults) else [])]
        out += [f"nothing came by {door}" for door in doors if not self.by_door.get(door)]
        out += [line for number, s in enumerate(self.struck) for line in self._wrong_with(number, s)]
        sessions = sum(s.seen.sessions for s in self.struck)
        if self.findings.unscripted_doubts > sessions:
            out.append(
                f"{self.findings.unscripted_doubts} attempts in doubt, {sessions} sessions at all faults"
            )
        if self.doubts_by_fault.get(-1) and not self.plan.clock:
            out.append(f"{self.doubts_by_fault[-1]} attempts in doubt that no fault and no sink explains")
        return out

    def _wrong_with(self, number: int, s: Struck) -> list[str]:
        doubts = self.doubts_by_fault.get(number, 0)
        out = []
        if not (s.seen.sessions and s.seen.leased and s.seen.accepted and s.accepted_after):
            out.append(f"fault {number} ({s.fault.name}) struck while nothing was in flight: {s.seen}")
        if doubts > s.seen.sessions and not self.plan.clock:
            out.append(
                f"fault {number} ({s.fault.name}): {doubts} in doubt with {s.seen.sessions} sessions open"
            )
        replayed = self.replayed.get(s.seen.batch, 0)
        if s.fault.is_amid_batch and not s.seen.committed:
            out.append(f"fault {number} ({s.fault.name}) struck no batch: {s.seen}")
        if s.fault.cuts_batch and replayed < s.seen.committed:
            out.append(
                f"fault {number} ({s.fault.name}): {replayed} of a batch replayed,"
                f" of {s.seen.committed} committed"
            )
        return out


def crash(folder: Path, plan: CrashPlan) -> Reckoning:
    """Runs the journey; what fails on the way raises with the product's last log lines."""
    folder.mkdir(parents=True, exist_ok=True)
    step_file = folder / "faketime"
    set_clock(step_file, 0)
    with ExitStack() as stack:
        sink = None if plan.to_inbox else stack.enter_context(running_sink(folder, delay_seconds=_SINK_DELAY))
        settings = _settings(sink, plan, step_file)
        instance = stack.enter_context(installed(folder / "data", settings))
        try:
            return _run(folder, plan, sink or InboxReceiver(instance.data), instance, step_file)
        except Exception as error:
            error.add_note(instance.tail())
            raise


def _settings(sink: Sink | None, plan: CrashPlan, step_file: Path) -> dict[str, str]:
    common = {
        "MAILER_DOMAIN": SENDER_DOMAIN,
        "MAILER_LOG_LEVEL": "warning",
        "MAILER_INBOX_PORT": "0",
        "MAILER_SMTP_PORT": str(free_port()),  # the same when `up` itself was killed
        "MAILER_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
        "MAILER_SWEEP_SECONDS": f"{SWEEP_SECONDS:g}",
        "MAILER_RETRY_DELAYS": "1s,2s",
        "MAILER_CONNECTIONS_PER_SITE": "10",
        "MAILER_SMTP_TIMEOUT_DATA_START": f"{_DOT_SECONDS:g}",
        "MAILER_SMTP_TIMEOUT_DATA_DONE": f"{_DOT_SECONDS:g}",
    }
    if sink is not None:
        common["MAILER_ROUTES"] = f"*=127.0.0.1:{sink.port};tls=none"
    return common | (stepped(step_file) if plan.clock else {}) | dict(plan.settings)


def _run(folder: Path, plan: CrashPlan, receiver: Receiver, instance: Instance, step_file: Path) -> Reckoning:
    assert instance.ready is not None
    ledger = Ledger(plan.ledger_url or f"sqlite:///{folder / 'data' / 'mailer.sqlite3'}")
    ready = instance.ready
    load_plan = LoadPlan(
        url=ready.http_url, smtp=(ready.smtp_host, ready.smtp_port), key=ready.api_key,
        sender=SENDER, seed=SEED, prefix=plan.name, per_second=plan.per_second,
        behaviours={} if plan.to_inbox else MIXED,
    )  # fmt: skip
    with running_load(folder, load_plan) as load:
        dice = random.Random(f"{SEED}/{plan.name}")
        scene = Scene(
            instance=instance, receiver=receiver, load=load, ledger=ledger, dice=dice,
            lease_seconds=LEASE_SECONDS, sweep_seconds=SWEEP_SECONDS, dot_seconds=_DOT_SECONDS,
            postgres=plan.postgres, broker=plan.broker, thief=plan.thief, step_file=step_file,
        )  # fmt: skip
        struck = [strike(scene, fault) for fault in plan.faults]
        wait_for(
            "enough messages",
            lambda: load.look() and len(load.accepted) >= plan.messages,
            within_seconds=plan.messages / 20,
        )
        load.finish(within_seconds=60)
        if plan.clock:
            # What was deferred while the clock was ahead is due in that future: we go there.
            set_clock(step_file, 3 * 3600)
        _drain(ledger)
    return _reckon(plan, instance, receiver, load, ledger, struck)


def _drain(ledger: Ledger) -> None:
    try:
        wait_for("the queue to drain", lambda: not ledger.unfinished(), within_seconds=_DRAIN_SECONDS)
    except AssertionError as error:
        error.add_note(f"{ledger.unfinished()} unfinished, at {clock.now().isoformat()}, such as")
        error.add_note("\n".join([*ledger.left_over(), *ledger.activity()]))
        raise


# ---- the reckoning -----------------------------------------------------------------------------------------


def _reckon(
    plan: CrashPlan,
    instance: Instance,
    receiver: Receiver,
    load: Load,
    ledger: Ledger,
    struck: Sequence[Struck],
) -> Reckoning:
    dots = receiver.records()
    log = instance.events()
    last_words = _last_words(log)
    accepted = _with_ids(instance, load.accepted)
    message_of = {r: a.message_id for a in accepted for r in a.recipients.values()}
    seen = _by_recipient_id(accepted, dots)
    suspects = {e["recipient_id"] for e in log if e["data"].get("in_doubt")}
    suspects |= {r for r, of_one in seen.items() if len(of_one) > 1}
    sample = random.Random(SEED).sample(sorted(message_of), min(_SAMPLE, len(message_of)))
    doubtful = _read(instance, {message_of[r] for r in {*suspects, *sample} & message_of.keys()}, last_words)
    told = {r: Told(state=word, doubts=len(doubtful.get(r, ()))) for r, word in last_words.items()}
    code, verdict = instance.verify()
    unscripted = {
        r: attempts
        for r, attempts in doubtful.items()
        if not any(d.did in UNANSWERED for d in seen.get(r, ()))
    }
    return Reckoning(
        plan=plan,
        findings=reconcile(accepted, dots, told, submitter=SENDER),
        notices=_notices(accepted, dots, last_words, ledger),
        struck=struck,
        doubts_by_fault=_by_fault(unscripted, struck),
        refused=[f"{r.bid}: {r.status} {r.body}" for r in load.refused],
        unknown=load.unknown,
        by_door=Counter(a.door for a in accepted),
        replayed=_replayed(accepted),
        verify_code=code,
        verify=verdict,
    )


def _notices(
    accepted: Sequence[Accepted], dots: Sequence[DotRead], last_words: Mapping[str, str], ledger: Ledger
) -> Notices:
    by_smtp = [r for a in accepted if a.door == "smtp" for r in a.recipients.values()]
    bounced = (
        "kind = 'failed' AND state = 'sent' AND recipient_id IN (SELECT r.id FROM recipient r"
        " JOIN message m ON m.id = r.message_id WHERE m.door = 'smtp' AND r.state = 'bounced')"
    )
    of_carriers = "state = 'in_doubt' AND message_id IN (SELECT id FROM message WHERE door = 'dsn')"
    sent = ledger.count(bounced, "notice")
    return Notices(
        owed=sum(last_words.get(r) == "bounced" for r in by_smtp),
        sent=sent,
        others=ledger.count("1 = 1", "notice") - sent,
        carriers=ledger.count("door = 'dsn'", "message"),
        doubts=ledger.count(of_carriers, "attempt"),
        kept=sum(dot.kept for dot in dots if dot.recipient == SENDER),
    )


def _replayed(accepted: Sequence[Accepted]) -> Mapping[str, int]:
    replayed: Counter[str] = Counter()
    for one in accepted:
        if one.batch:
            replayed[one.batch] += one.replayed
    return replayed


def _last_words(log: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Every recipient's last event; fails where one was told something after its final state."""
    words: dict[str, str] = {}
    for event in log:
        recipient_id = event["recipient_id"]
        assert words.get(recipient_id) not in FINAL, f"{recipient_id} was told {event['type']} after its end"
        words[recipient_id] = event["type"]
    return words


def _with_ids(instance: Instance, accepted: Sequence[Accepted]) -> list[Accepted]:
    """With the ids of recipients whose door did not tell them; a recipient that is not there keeps none."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda one: _with_ids_of_one(instance, one), accepted))


def _with_ids_of_one(instance: Instance, one: Accepted) -> Accepted:
    if all(one.recipients.values()):
        return one
    told = instance.get(f"/v1/messages/{one.message_id}")["recipients"]
    ids = {r["address"]: r["id"] for r in told}
    assert ids.keys() <= one.recipients.keys(), f"{one.message_id} has recipients that nobody named: {ids}"
    return replace(one, recipients={address: ids.get(address, "") for address in one.recipients})


def _by_recipient_id(accepted: Sequence[Accepted], dots: Sequence[DotRead]) -> dict[str, list[DotRead]]:
    ids = {address: r for a in accepted for address, r in a.recipients.items()}
    found: dict[str, list[DotRead]] = defaultdict(list)
    for dot in dots:
        if dot.recipient in ids:
            found[ids[dot.recipient]].append(dot)
    return found


def _read(
    instance: Instance, messages: set[str], last_words: Mapping[str, str]
) -> dict[str, list[Mapping[str, Any]]]:
    """Attempts in doubt by recipient; fails where a message's state is not what the log says."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for message_id in sorted(messages):
        for recipient in instance.get(f"/v1/messages/{message_id}")["recipients"]:
            assert recipient["state"] == last_words[recipient["id"]], (
                f"{recipient['id']}: state and log differ"
            )
            found[recipient["id"]] = [a for a in recipient["attempts"] if a["state"] == "in_doubt"]
    return found


def _by_fault(
    doubtful: Mapping[str, Sequence[Mapping[str, Any]]], struck: Sequence[Struck]
) -> dict[int, int]:
    """How many attempts that were open at a fault ended in doubt; -1: those open at none."""
    counts: dict[int, int] = defaultdict(int)
    for attempts in doubtful.values():
        for attempt in attempts:
            opened, closed = (
                datetime.fromisoformat(attempt[n]).timestamp() for n in ("opened_at", "closed_at")
            )
            at_it = (i for i, s in enumerate(struck) if opened - _CLOCK_SLACK <= s.seen.at <= closed)
            counts[next(at_it, -1)] += 1
    return counts
