"""Whether content goes by BDAT in one flight with its envelope, or by DATA (RFC 3030 §2).

    us    MAIL RCPT BDAT content
    peer                          250 250 250

One round trip instead of two, no dot-stuffing. It does not pay where the content may travel in vain, and a
break leaves more in doubt: the peer may have it all when the first reply is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mailer.policy.classify import status_of
from mailer.policy.outcome import Accepted, Broken, Outcome, Refused
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.relay.smtp.session import Session
from mailer.relay.smtp.tls import TlsMemory

# What travels with a refused envelope is wasted. So much leaves in one write and in two or three round trips
# of a new connection, which sends ten segments in the first; of more, the transfer itself takes so long that
# one round trip less is no gain.
LARGEST_OCTETS = 65536

# A session that idled may have been closed by the peer a moment ago. Before the dot that is harmless, but
# with BDAT it would be in doubt.
_FRESH_SECONDS = 2.0
_MOST_HOSTS = 10_000

_PROTOCOL = 5  # enhanced status x.5.z: the command, not the mail (RFC 3463 §3.6)


class Chunking:
    """What is known of hosts and BDAT; used on one event loop.

    memory  of hosts that handle BDAT badly, shared with other workers
    """

    def __init__(
        self, memory: TlsMemory, *, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._memory = memory
        self._now = now
        self._monotonic = monotonic
        self._refusing: dict[str, None] = {}  # hosts that refused the last recipient
        self._proven: dict[str, None] = {}  # hosts that answered the last content by BDAT

    def pays(self, session: Session) -> bool:
        """Whether content that is small may go by BDAT over this session, in step with all that was said."""
        offered, host = session.capabilities, session.target.host
        if not (offered.chunking and offered.pipelining) or host in self._refusing:
            return False
        is_fresh = self._monotonic() - session.used_at < _FRESH_SECONDS
        return is_fresh and not self._memory.bdat_failed_before(host, self._now())

    def note(self, session: Session, outcome: Outcome, *, by_bdat: bool) -> None:
        """Whether the host took the last recipient that it was offered, and answered BDAT."""
        host = session.target.host
        match outcome:
            case Refused(_, Phase.RCPT):
                _remember(self._refusing, host)
            case Accepted() | Refused(_, Phase.END_OF_DATA):
                self._refusing.pop(host, None)
                if by_bdat:
                    _remember(self._proven, host)
            case _:
                pass

    def failed(self, session: Session, outcome: Outcome) -> None:
        """BDAT met what DATA would not have: DATA for this host from now on, for a day.

        A connection lost by a host that answered BDAT just before says nothing of BDAT; two in a row do.
        """
        host = session.target.host
        if isinstance(outcome, Broken) and outcome.in_doubt and host in self._proven:
            del self._proven[host]
            return
        self._memory.note_bdat_failure(host, self._now())


def _remember(hosts: dict[str, None], host: str) -> None:
    hosts.pop(host, None)  # so that it moves to the young end
    while len(hosts) >= _MOST_HOSTS:
        del hosts[next(iter(hosts))]
    hosts[host] = None


def is_not_understood(reply: Reply) -> bool:
    """Whether the reply to BDAT, after a recipient was taken, refuses the command and not the mail."""
    if reply.code // 100 != 5:
        return False
    return reply.code in range(500, 505) or status_of(reply, Phase.END_OF_DATA).subject == _PROTOCOL
