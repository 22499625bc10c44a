"""The operator's file of rules, and what stands in for it while it cannot be used.

Whenever a process takes the file it keeps a copy in the data folder. One that starts while the file has
faults, or is gone, has the rules of that copy, and without one the shipped rules alone: a supervisor that
starts a dead worker again must not lose the whole installation to a typing error of the day before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from mailer.config.load import site_files
from mailer.policy.sites import SiteRuleError, SiteRules

_log = structlog.get_logger(__name__)

_COPY = "sites.last-good.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a process begins with.

    files     texts by name, the upper ones last
    rules     what they say, without those of the API
    faults    why the operator's file is not among them; empty: it is, or none is named
    stand_in  the copy that is there instead; None: there is none
    """

    files: Mapping[str, str]
    rules: SiteRules
    faults: tuple[str, ...] = ()
    stand_in: Path | None = None

    def warning(self, overlay: Path | None) -> str:
        """One sentence about what is in force instead."""
        instead = (
            f"its last good rules, kept in {self.stand_in}" if self.stand_in else "the shipped rules alone"
        )
        return f"MAILER_SITES_FILE {overlay} cannot be used, in force are {instead}: {'; '.join(self.faults)}"


def find(overlay: Path | None, data_dir: Path | None) -> Found:
    """data_dir: where the copy lies; None: nowhere."""
    try:
        return _read(overlay)
    except SiteRuleError as error:
        faults = error.faults
    copy = None if data_dir is None else data_dir / _COPY
    if copy is not None and copy.exists():
        try:
            found = _read(copy)
        except SiteRuleError as error:  # of another release, whose rules said more
            faults += error.faults
        else:
            return Found(files=found.files, rules=found.rules, faults=faults, stand_in=copy)
    shipped = _read(None)
    return Found(files=shipped.files, rules=shipped.rules, faults=faults)


def _read(overlay: Path | None) -> Found:
    """Raises SiteRuleError."""
    files = site_files(overlay)
    try:
        return Found(files=files, rules=SiteRules.parse(files))
    except RecursionError as error:  # brackets within brackets, a hundred thousand deep
        raise SiteRuleError([f"{overlay} cannot be read: {error}"]) from None


def stamp(file: Path | None) -> tuple[int, int, int] | None:
    """Differs once the file does. None: it cannot be looked at, or there is none."""
    if file is None:
        return None
    try:
        at = file.stat()
    except OSError:
        return None
    return at.st_mtime_ns, at.st_size, at.st_ino


def keep(text: str | None, data_dir: Path, *, name: str = _COPY) -> None:
    """The copy is this; None: no file is named, and there is none."""
    copy = data_dir / name
    part = copy.with_name(f"{name}.{os.getpid()}.part")
    try:
        if text is None:
            copy.unlink(missing_ok=True)
        elif not copy.exists() or copy.read_text(encoding="utf-8") != text:
            with part.open("w", encoding="utf-8") as half:
                half.write(text)
                half.flush()
                os.fsync(half.fileno())
            part.rename(copy)
    except (OSError, UnicodeDecodeError) as error:
        # The rules are in force all the same; only a start with a bad file would miss them.
        _log.warning("sites.copy_not_kept", file=str(copy), error=str(error))
