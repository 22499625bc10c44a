"""Reports of the world, where the corpora stand beside this checkout."""

from __future__ import annotations

import email
import json
import os
from email.message import Message
from pathlib import Path
from typing import Any

CORPORA = Path(os.environ.get("CORPORA", Path(__file__).parents[2] / "../shared/corpora"))
EXPECTED = CORPORA / "reports-expected.parsedmarc.json"


def files(folder: str) -> list[Path]:
    """Material of others; what is no report but tells about them is left out."""
    found = sorted(p for p in (CORPORA / folder).glob("*/*") if p.is_file())
    return [p for p in found if p.name != "NOTE.txt" and p.suffix not in {".xsd"}]


def name_of(path: Path) -> str:
    return str(path.relative_to(CORPORA))


def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    return found


def report_in(path: Path, *kinds: str) -> bytes:
    """The file; of a mail the attachment that is one of these, or has such a name."""
    content = path.read_bytes()
    if path.suffix != ".eml":
        return content
    for part in email.message_from_bytes(content).walk():
        if not part.is_multipart() and _is_one(part, kinds):
            found = part.get_payload(decode=True)
            assert isinstance(found, bytes)
            return found
    raise AssertionError(f"{path} has no such part")


def _is_one(part: Message, kinds: tuple[str, ...]) -> bool:
    name = (part.get_filename() or "").lower()
    return any(kind in part.get_content_type() or name.endswith(kind) for kind in kinds)
