"""Debian's Exim as an MX that greylists, with spool, mail and configuration of its own.

It cannot be installed beside Postfix, so tests/packages.sh only unpacks it. The machine's own configuration
is neither read nor changed. It has to be started as root, as Exim must.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from tests.support.processes import Tree
from tests.support.servers import MissingServer, Server, _listens

UNPACKED = Path("/usr/local/lib/mailer-tests/exim4/usr/sbin")  # as tests/packages.sh has it
_ACCOUNT = "Debian-exim"  # fixed in Debian's program
_CONFIGURATION = """primary_hostname = mx.example.net
exim_user = {account}
exim_group = {account}
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path =
keep_environment =
local_interfaces = <; [127.0.0.1]:{port}
daemon_smtp_ports = {port}
host_lookup =
rfc1413_hosts =
never_users =
deliver_drop_privilege = true
dsn_advertise_hosts = *
message_size_limit = 50M
smtp_accept_max_nonmail = 3
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {certificate}
acl_smtp_mail = heard_mail
acl_smtp_rcpt = heard_rcpt
acl_smtp_data = heard_data
begin acl
heard_mail:
  accept logwrite = heard $smtp_command
heard_rcpt:
  warn   logwrite = heard $smtp_command
  deny   message = 5.1.1 no such mailbox
         local_parts = ^nobody
  accept local_parts = regular
  defer  message = 4.7.1 greylisted, come back later
         !seen = 1h / key=${{sender_host_address}}_${{sender_address}}_${{local_part}}@${{domain}}
  accept
heard_data:
  accept
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  use_crlf
  envelope_to_add
begin retry
* * F,2h,1s
"""


class Exim(Server):
    """Takes mail for every mailbox but `nobody`, each sender and recipient at the second sight only; for
    `regular` at the first.

    certificate: PEM file with key. Nobody but root need be able to read it.
    """

    name = "exim"

    def __init__(self, certificate: Path) -> None:
        self._program = shutil.which("exim4", path=str(UNPACKED))
        if self._program is None:
            raise MissingServer(f"exim4 is not in {UNPACKED}; run as root: make test-packages")
        if os.geteuid():
            raise RuntimeError("Exim starts as root only: run these tests as root")
        super().__init__()
        account = pwd.getpwnam(_ACCOUNT)
        self.folder.chmod(0o755)  # it gives up being root
        mine = shutil.copy(certificate, self.folder / "certificate.pem")
        os.chown(mine, account.pw_uid, account.pw_gid)
        for name in ("spool", "log", "mail"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, account.pw_uid, account.pw_gid)
        (self.folder / "exim.conf").write_text(
            _CONFIGURATION.format(
                account=_ACCOUNT, program=self._program, folder=self.folder, port=self.port, certificate=mine
            )
        )

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def heard(self, verb: str) -> list[str]:
        """Every such command that it was given, with its parameters."""
        words = [line.partition(" heard ")[2] for line in self.told().splitlines()]
        return [word for word in words if word.upper().startswith(verb)]

    def kept(self, mailbox: str) -> list[bytes]:
        """Every message of a mailbox as it was stored, behind Exim's own Envelope-to."""
        found = []
        for path in sorted((self.folder / "mail/new").glob("*")):
            envelope, _, message = path.read_bytes().partition(b"\r\n")
            if envelope == f"Envelope-to: {mailbox}".encode():
                found.append(message)
        return found

    def told(self) -> str:
        """Its log."""
        log = self.folder / "log/mainlog"
        return log.read_text(errors="replace") if log.exists() else ""

    def _launch(self) -> Tree:
        command = [str(self._program), "-C", str(self.folder / "exim.conf"), "-bdf"]
        return Tree(command, folder=self.folder, log=self._log)

    def _answers(self) -> bool:
        return _listens(self.port)
