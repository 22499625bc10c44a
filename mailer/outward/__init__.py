"""What leaves for a place that a stranger named: which addresses may be dialled, and HTTP that keeps to it.

    addresses   which are public; the relay asks for every MX host, the guard for every callback
    guard       the one connect: resolves the name, judges every address, dials the one it judged
    transport   httpx over that connect, for every HTTP request of ours to a stranger's URL

The check stands at the connect because a name may resolve to something else a moment later (DNS
rebinding), and a URL may reach a host in more ways than anybody lists. Redirects are followed nowhere,
and proxies of the environment are not used: both would dial past the guard.
"""

from mailer.outward.guard import Guard, NotAllowed, NotFound
from mailer.outward.transport import GuardedTransport, TlsFailed

__all__ = ["Guard", "GuardedTransport", "NotAllowed", "NotFound", "TlsFailed"]
