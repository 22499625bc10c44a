"""Debian's Postfix with queue, data and configuration of its own: a smart host's client, or an MX.

The machine's own configuration is neither read nor changed. It has to be started as root, as Postfix must.
"""

from __future__ import annotations

import os
import pwd
import re
import smtplib
import subprocess
from collections.abc import Mapping
from email.parser import BytesHeaderParser
from pathlib import Path

from tests.support.processes import Tree
from tests.support.servers import Server, _listens, _program

_PROGRAMS = Path("/usr/lib/postfix/sbin")
_MAIN = {
    "compatibility_level": "3.6",
    "command_directory": "/usr/sbin",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "alias_maps": "",
    "alias_database": "",
    "smtp_dns_support_level": "disabled",
    "smtpd_peername_lookup": "no",
    "message_size_limit": "41943040",
    # What was deferred is tried again at once: nobody waits for minutes in a test. For the same reason the
    # queue manager is woken every second (below): what it was not told of it finds then, else after 300 s.
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "2s",
}
_QUEUES = ("maildrop", "incoming", "active", "deferred")
_GOES_WELL = re.compile(r"status=sent|: removed$|/cleanup\[|: client=|from=<|/smtpd\[\d+\]: (dis)?connect ")
_MASTER = """127.0.0.1:{port} inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 1 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix(Server):
    """options: lines of main.cf beside those that every one has.

    at  an address of this machine at whose port 25 it listens as well
    """

    name = "postfix"

    def __init__(self, host: str, options: Mapping[str, str], *, at: str | None = None) -> None:
        super().__init__()
        self._host = host
        self._program = _program("postfix", "postfix")
        if os.geteuid():
            raise RuntimeError("Postfix starts as root only: run these tests as root")
        self.folder.chmod(0o755)  # its processes have accounts of their own
        for name in ("etc", "spool", "data"):
            (self.folder / name).mkdir()
        account = pwd.getpwnam("postfix")
        os.chown(self.folder / "data", account.pw_uid, account.pw_gid)
        own = {
            "queue_directory": f"{self.folder}/spool",
            "data_directory": f"{self.folder}/data",
            "daemon_directory": str(_PROGRAMS),
            "myhostname": host,
            "maillog_file": str(self._mail_log),
            "maillog_file_prefixes": str(self.folder),
        }
        lines = [f"{name} = {value}\n" for name, value in {**_MAIN, **own, **options}.items()]
        (self.folder / "etc/main.cf").write_text("".join(lines))
        master = _MASTER.format(port=self.port)
        if at is not None:
            master += f"{at}:25 inet n - n - - smtpd\n"
        (self.folder / "etc/master.cf").write_text(master)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def queued(self) -> int:
        """Messages that it has and did not get rid of."""
        return len(self._queue_files())

    def _queue_files(self) -> list[Path]:
        found = [(self.folder / "spool" / queue).rglob("*") for queue in _QUEUES]
        return [path for paths in found for path in paths if path.is_file()]

    def last_words(self) -> str:
        """For the one who reads a failure: what it has, and of its log what did not go well, and the end."""
        lines = self.told().splitlines()
        odd = [line for line in lines if not _GOES_WELL.search(line)]
        queued = [f"queued: {path.relative_to(self.folder)}" for path in self._queue_files()]
        return "\n".join([f"--- {self._host}", *queued[-20:], *odd[-60:], "---", *lines[-20:]])

    def told(self) -> str:
        """Its log."""
        return self._mail_log.read_text(errors="replace") if self._mail_log.exists() else ""

    def client(self) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, timeout=20)

    @property
    def _mail_log(self) -> Path:
        return self.folder / "mail.log"

    def _launch(self) -> Tree:
        # Not "start-fg": that daemon leaves our session, and would outlive a test run that is killed.
        etc = str(self.folder / "etc")
        subprocess.run([self._program, "-c", etc, "check"], capture_output=True, check=True, timeout=60)
        return Tree([str(_PROGRAMS / "master"), "-c", etc, "-d"], folder=self.folder, log=self._log)

    def _answers(self) -> bool:
        return _listens(self.port)


def smart_host_client(port: int, key: str, *, certificate: Path | None) -> Postfix:
    """One that hands everything to the door on `port`, with an API key. No certificate: without TLS."""
    options = {
        "relayhost": f"[127.0.0.1]:{port}",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"static:any:{key}",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_tls_security_level": "none",
    }
    if certificate is not None:
        options |= {
            "smtp_tls_security_level": "secure",
            "smtp_tls_secure_cert_match": "localhost",
            "smtp_tls_CAfile": str(certificate),
        }
    return Postfix("office.example.org", options)


class Mx(Postfix):
    """Takes mail for every domain and keeps it in one maildir. refuses: a mailbox that it does not have."""

    def __init__(
        self, *, certificate: Path | None, refuses: str = "nobody@example.net", at: str | None = None
    ) -> None:
        """certificate: PEM file with key; None: no TLS is offered. at: an address of this machine whose port
        25 takes mail from any other."""
        account = pwd.getpwnam("nobody")
        options = {
            "virtual_mailbox_domains": "static:all",
            "virtual_mailbox_maps": "static:all/",
            "virtual_uid_maps": f"static:{account.pw_uid}",
            "virtual_gid_maps": f"static:{account.pw_gid}",
            "smtpd_recipient_restrictions": f"check_recipient_access inline:{{{{{refuses} = "
            "550 5.1.1 no such mailbox}}",
            "smtpd_tls_received_header": "yes",
            "smtpd_tls_security_level": "none",
        }
        if certificate is not None:
            options |= {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": str(certificate)}
        if at is not None:
            options |= {"mynetworks": "0.0.0.0/0"}
        super().__init__("mx.example.net", options, at=at)
        boxes = self.folder / "mail"
        boxes.mkdir()
        os.chown(boxes, account.pw_uid, account.pw_gid)
        with (self.folder / "etc/main.cf").open("a") as file:
            file.write(f"virtual_mailbox_base = {boxes}\n")

    def kept(self) -> list[bytes]:
        """Every message as it was stored."""
        return [path.read_bytes() for path in (self.folder / "mail/all/new").glob("*")]

    def kept_of(self, field: str) -> list[str]:
        """The values that a header field has in them, in order."""
        parser = BytesHeaderParser()
        return sorted(str(parser.parsebytes(octets)[field]) for octets in self.kept())
