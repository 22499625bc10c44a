"""The operator's rules on what refusals mean, as a process has them, and what stands in for them.

As with the file of sites (kept_rules.py): a process that starts while the file has faults has the copy of its
last good state from the data folder, and without one the shipped rules alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from mailer.bootstrap import kept_rules
from mailer.config.load import bounce_texts, refusal_rules
from mailer.policy.bouncerules import BounceRuleError
from mailer.policy.classifier import Classifier, shipped

_log = structlog.get_logger(__name__)

_COPY = "bounces.last-good.toml"

_Stamp = tuple[int, int, int] | None


class RefusalKeeper:
    """`look` about once a second, by one thread that may wait; `classifier` from any.

    Rules that cannot be used are told once in the log, and the last good ones stay in force.
    """

    def __init__(self, overlay: Path | None, data_dir: Path | None = None) -> None:
        """data_dir: where a copy of the last good file is kept; None: nowhere."""
        self._overlay = overlay
        self._data_dir = data_dir
        self._looked_at: _Stamp = kept_rules.stamp(overlay)
        self._read: _Stamp = self._looked_at
        self._told: Sequence[str] = ()
        self.classifier = self._at_start()

    def _at_start(self) -> Classifier:
        try:
            found = refusal_rules(self._overlay)
        except BounceRuleError as error:
            self._tell(error)
            return self._stand_in()
        self._keep()
        return found

    def _stand_in(self) -> Classifier:
        copy = None if self._data_dir is None else self._data_dir / _COPY
        if copy is None or not copy.exists():
            _log.error("refusals.started_without_file", file=str(self._overlay), in_force="the shipped rules")
            return shipped()
        try:
            found = refusal_rules(copy)
        except BounceRuleError as error:  # of another release, whose rules said more
            self._tell(error)
            return shipped()
        _log.error("refusals.started_without_file", file=str(self._overlay), in_force=str(copy))
        return found

    def look(self) -> bool:
        """Takes the file as soon as it was changed and then stood still from one look to the next.

        True: other rules are in force now.
        """
        seen = kept_rules.stamp(self._overlay)
        stands_still, self._looked_at = seen == self._looked_at, seen
        if seen == self._read or not stands_still:
            return False
        self._read = seen
        try:
            found = refusal_rules(self._overlay)
        except BounceRuleError as error:
            self._tell(error)
            return False
        self.classifier, self._told = found, ()
        self._keep()
        _log.info("refusals.rules_taken", file=str(self._overlay), rules=len(found.rules))
        return True

    def _keep(self) -> None:
        if self._data_dir is not None:
            text = None if self._overlay is None else bounce_texts(self._overlay)[str(self._overlay)]
            kept_rules.keep(text, self._data_dir, name=_COPY)

    def _tell(self, error: BounceRuleError) -> None:
        """Once: what is wrong stays wrong until somebody sees to it."""
        if error.faults != self._told:
            self._told = error.faults
            _log.error("refusals.rules_refused", file=str(self._overlay), faults=list(error.faults))
