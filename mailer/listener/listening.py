"""The sockets we listen on, who is connected to them, and how all of it stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

from mailer.listener.conversation import Conversation
from mailer.listener.peer import network_of
from mailer.listener.reply import TOO_MANY_CONNECTIONS, ServerReply
from mailer.listener.rules import Rules


class Listener:
    """Sessions under one set of rules, on any number of addresses. Lives on one event loop."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._servers: list[asyncio.Server] = []
        self._conversations: dict[Conversation, str] = {}
        self._of_peer: Counter[str] = Counter()
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    async def listen(self, host: str, port: int, *, tls_first: bool = False) -> int:
        """Returns the port, which the system chooses if `port` is 0. Raises OSError.

        tls_first  TLS before the greeting, as on port 465 (RFC 8314 §3.3). Raises ValueError without TLS
        """
        if tls_first and self._rules.tls is None:
            raise ValueError("TLS before the greeting needs a TLS context")
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Conversation(self._rules, self, loop, tls_first=tls_first), host, port, backlog=1024
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._conversations)

    async def close(self, seconds: float) -> None:
        """Nobody new; 421 4.3.2 to the idle, to the others after their transaction or after `seconds`."""
        for server in self._servers:
            server.close()
        for conversation in list(self._conversations):
            conversation.close_when_idle()
        try:
            await asyncio.wait_for(self._is_empty.wait(), seconds)
        except TimeoutError:
            for conversation in list(self._conversations):
                conversation.close_now()
            # Their last reply may linger; the transports are cut after that.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_empty.wait(), self._rules.limits.linger_seconds + 1)

    # ---- what conversations call ----------------------------------------------------------------------

    def admit(self, conversation: Conversation) -> ServerReply | None:
        """None, or 421 when all places, or all of this peer's, are taken."""
        limits, peer = self._rules.limits, network_of(conversation.talk.peer)
        is_full = len(self._conversations) >= limits.connections
        if is_full or self._of_peer[peer] >= limits.connections_per_peer:
            return TOO_MANY_CONNECTIONS
        self._conversations[conversation] = peer
        self._of_peer[peer] += 1
        self._is_empty.clear()
        return None

    def forget(self, conversation: Conversation) -> None:
        peer = self._conversations.pop(conversation, None)
        if peer is None:
            return
        self._of_peer[peer] -= 1
        if not self._of_peer[peer]:
            del self._of_peer[peer]
        if not self._conversations:
            self._is_empty.set()
