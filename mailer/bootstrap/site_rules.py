"""The rules for sites as a process has them: from the shipped files, the operator's own, and the database.

A process asks for them in one place and hands the one object on; `look` lays other rules into it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from mailer.bootstrap import kept_rules
from mailer.bootstrap.kept_rules import Found
from mailer.bootstrap.refusals import RefusalKeeper
from mailer.config import Settings
from mailer.config.load import site_files
from mailer.policy.sites import SiteRuleError, SiteRules
from mailer.queue import ownrules
from mailer.queue.ownrules import OwnRules
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_Stamp = tuple[int, int, int] | None
_NEVER = object()


def rules_in_force(found: Found, own: OwnRules) -> SiteRules:
    """As a process that starts now has them: where the API's contradict the files, the files' alone."""
    try:
        return SiteRules.parse(found.files, own)
    except SiteRuleError:
        return found.rules


def rules_keeper(settings: Settings, store: Store) -> RulesKeeper:
    """As the settings name its files."""
    return RulesKeeper(
        settings.sites_file, store, data_dir=settings.data_dir, refusals=settings.bounce_rules_file
    )


class RulesKeeper:
    """`look` about once a second, by threads that may wait; `rules` from any.

    Rules that cannot be used are told once in the log, and the last good ones stay in force; at a start those
    that were kept in the data folder.
    """

    def __init__(
        self,
        overlay: Path | None,
        store: Store,
        *,
        data_dir: Path | None = None,
        refusals: Path | None = None,
    ) -> None:
        """data_dir: where copies of the last good files are kept; None: nowhere.

        refusals  the operator's rules on what refusals mean; None: there are none
        """
        self._refusals = RefusalKeeper(refusals, data_dir)
        self._overlay = overlay
        self._data_dir = data_dir
        self._store = store
        self._lock = threading.Lock()
        self._looked_at: _Stamp = kept_rules.stamp(overlay)
        self._read: _Stamp | object = self._looked_at
        found = kept_rules.find(overlay, data_dir)
        self._files: Mapping[str, str] = found.files
        self._own: OwnRules = {}
        self._is_refused = bool(found.faults)
        self._told: Sequence[str] = ()
        self.rules = SiteRules.parse(found.files, classifier=self._refusals.classifier)
        if found.faults:
            self._tell(SiteRuleError(found.faults))
            _log.error("sites.started_without_file", reason=found.warning(overlay))
        else:
            self._keep(found.files)
        self.look()

    def _keep(self, files: Mapping[str, str]) -> None:
        if self._data_dir is not None:
            kept_rules.keep(files.get(str(self._overlay)), self._data_dir)

    def merged(self, own: OwnRules) -> SiteRules:
        """What `own` over the files makes. Raises SiteRuleError."""
        return SiteRules.parse(self._files, own)

    def look(self) -> None:
        """Takes what the database has, and the operator's file as soon as it was changed and then stood still
        from one look to the next: half of a file may be in order, too. Never raises."""
        with self._lock:
            try:
                self._look()
            except StoreUnavailable as error:
                _log.warning("sites.own_rules_not_read", error=str(error))
            except Exception:  # noqa: BLE001 - whatever an editor left there must not end a role
                _log.exception("sites.rules_refused", file=str(self._overlay))

    def _look(self) -> None:
        own = ownrules.all_of(self._store)
        if own != self._own:
            self._own = own
            if self._take(self._files):
                _log.info("sites.own_rules_taken", rules=sorted(own))
            if self._is_refused:
                self._read = _NEVER  # the file may go with these
        if self._refusals.look():
            self._take(self._files)
        if self._is_file_changed():
            self._read_file()

    def _is_file_changed(self) -> bool:
        seen = kept_rules.stamp(self._overlay)
        stands_still, self._looked_at = seen == self._looked_at, seen
        return seen != self._read and stands_still

    def _read_file(self) -> None:
        self._read = self._looked_at
        self._is_refused = True  # until it is taken
        try:
            files = site_files(self._overlay)
        except SiteRuleError as error:
            self._tell(error)
            return
        if kept_rules.stamp(self._overlay) != self._read:
            return  # it was written to meanwhile: the next look finds it changed again
        if self._take(files):
            self._is_refused, self._told = False, ()
            self._keep(files)
            _log.info("sites.rules_taken", file=str(self._overlay), providers=len(self.rules.providers))

    def _take(self, files: Mapping[str, str]) -> bool:
        """Whether these files under the rules of the database were taken."""
        try:
            self.rules.take(SiteRules.parse(files, self._own, classifier=self._refusals.classifier))
        except SiteRuleError as error:
            self._tell(error)
            return False
        self._files = files
        return True

    def _tell(self, error: SiteRuleError) -> None:
        """Once: what is wrong stays wrong until somebody sees to it."""
        if error.faults != self._told:
            self._told = error.faults
            _log.error("sites.rules_refused", file=str(self._overlay), faults=list(error.faults))
