"""Real PostgreSQL, Redis and RabbitMQ on free loopback ports, each with a folder of its own.

A server that is not installed fails the tests that need it and names the command that installs it: a
skipped test would let half of the promise go unproved without anyone noticing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from uuid import uuid4

import amqp
import psycopg

from tests.support.processes import Tree, free_port, wait_until

_START_SECONDS = 60.0
_MEMORY = Path("/dev/shm")
_ROOMY_BYTES = 4 << 30
SYSTEM_FOLDERS = "/usr/sbin"  # not on everybody's PATH


class MissingServer(Exception):
    """The tests need a program that this machine does not have."""


class Server(ABC):
    """Stands still until start(); the port and the data stay the same over stop, kill and start.

    name      of the program, and in the folder's name
    patience  seconds that a server which was asked to stop may take before it is killed
    """

    name: str
    stop_by = signal.SIGTERM
    patience = 20.0

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"mailer-{self.name}-", dir=self._where()))
        self._tree: Tree | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach it."""

    def _where(self) -> str | None:
        """The folder that its own folder is made in; None: where temporary files go."""
        return None

    @abstractmethod
    def _launch(self) -> Tree: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    @property
    def pid(self) -> int:
        return self._running.pid

    def start(self) -> None:
        """Returns when it serves. RuntimeError with the end of its log if it ends instead."""
        if self._tree is not None and self._tree.runs:
            return
        self._tree = self._launch()
        wait_until(f"{self.name} serves", self._serves, seconds=_START_SECONDS)

    def stop(self) -> None:
        """In good order: connections are ended, what is in memory is written."""
        if self._tree is not None:
            self._tree.end(self.stop_by, seconds=self.patience)

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9, as a crash of the program would be; the data stays for start()."""
        self._running.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._running.pause()

    def resume(self) -> None:
        self._running.resume()

    def close(self) -> None:
        """Gone for good, with its folder."""
        if self._tree is not None:
            self._discard(self._tree)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _discard(self, tree: Tree) -> None:
        tree.kill()

    @property
    def _running(self) -> Tree:
        if self._tree is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._tree

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _serves(self) -> bool:
        if not self._running.runs:
            self._running.end(signal.SIGTERM, seconds=1.0)
            tail = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended instead of serving:\n{tail}")
        return self._answers()


class Postgres(Server):
    """A cluster that trusts loopback.

    durable  whether commits reach the disk. Off, it lies in memory where there is room, and survives its
             own crash as well, not the machine's: enough for everything but the crash journeys, and many
             times faster
    """

    name = "postgres"
    stop_by = signal.SIGINT  # "fast": ends the sessions instead of waiting for them

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        super().__init__()
        self._programs = _postgres_programs()
        self._account = _unprivileged_account()
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._initialise()

    @property
    def url(self) -> str:
        """The maintenance database; tests take new_database()."""
        return self._url_of("postgres")

    def new_database(self, *, like: str | None = None) -> str:
        """URL of a database that nobody else uses: empty, or a copy of the one at the URL `like`, to which
        nobody is connected."""
        name = f"test_{uuid4().hex}"
        copied = "" if like is None else f' TEMPLATE "{like.rpartition("/")[2]}" STRATEGY FILE_COPY'
        self._execute(f'CREATE DATABASE "{name}"{copied}')
        return self._url_of(name)

    def drop_database(self, url: str) -> None:
        """Ends the sessions in it as well."""
        name = url.rpartition("/")[2]
        self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _where(self) -> str | None:
        """In memory where that is large: to make a database is to make a thousand files."""
        is_roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOMY_BYTES
        return str(_MEMORY) if is_roomy and not self.durable else None

    def _discard(self, tree: Tree) -> None:
        """Not by kill -9, after which its System V memory segment would stay for good."""
        tree.resume()  # a paused process would never hear that it is to stop
        tree.end(signal.SIGQUIT, seconds=5.0)

    def _url_of(self, database: str) -> str:
        return f"postgresql+psycopg://mailer@127.0.0.1:{self.port}/{database}"

    def _execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement.encode())

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="mailer", dbname="postgres", connect_timeout=5,
            autocommit=True,
        )  # fmt: skip

    def _initialise(self) -> None:
        subprocess.run(
            [self._programs / "initdb", "--pgdata", self.folder / "data", "--username", "mailer",
             "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"],
            check=True, cwd=self.folder, stdout=subprocess.DEVNULL,
            user=self._account and self._account.pw_uid,
            group=self._account and self._account.pw_gid,
            extra_groups=[] if self._account else None,
        )  # fmt: skip

    def _launch(self) -> Tree:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return Tree(
            [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *options],
            folder=self.folder, log=self._log, account=self._account,
        )  # fmt: skip

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


class Redis(Server):
    """Keeps nothing on disk: a kill loses every bell, which the product must stand."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _launch(self) -> Tree:
        program = _program("redis-server", "redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return Tree([program, *options, "--dir", str(self.folder)], folder=self.folder, log=self._log)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as client:
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class RabbitMQ(Server):
    """A node of its own, with its own cookie, plugins (none) and port mapper (epmd)."""

    name = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self._node_port = free_port()
        self._mapper_port = free_port()
        self._mapper: Tree | None = None
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "environment").touch()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def close(self) -> None:
        super().close()
        if self._mapper is not None:
            self._mapper.end(signal.SIGTERM, seconds=1.0)

    def _launch(self) -> Tree:
        self._start_mapper()
        # Not Debian's wrapper on the PATH: that one insists on the account "rabbitmq" and its folders.
        program = _program("rabbitmq-server", "rabbitmq-server", first="/usr/lib/rabbitmq/bin")
        return Tree([program], folder=self.folder, log=self._log, env=self._environment())

    def _start_mapper(self) -> None:
        """RabbitMQ would start one as a daemon on the machine's port 4369 and leave it behind."""
        if self._mapper is None:
            options = ["-port", str(self._mapper_port), "-address", "127.0.0.1"]
            program = _program("epmd", "rabbitmq-server")
            self._mapper = Tree([program, *options], folder=self.folder, log=self._log)
            wait_until("epmd listens", lambda: _listens(self._mapper_port), seconds=10)

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "PATH": os.environ["PATH"],
            "HOME": folder,  # where the cookie is made and read
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"mailer{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/environment",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": "-",
        }

    def _answers(self) -> bool:
        try:
            with amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=2, read_timeout=5):
                return True
        except (OSError, amqp.AMQPError):
            return False


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _program(name: str, package: str, *, first: str = "") -> str:
    found = shutil.which(name, path=os.pathsep.join([first, os.environ["PATH"], SYSTEM_FOLDERS]))
    if found is None:
        raise MissingServer(
            f"{name} is not installed; run: make test-packages (or: apt-get install {package})"
        )
    return found


def _postgres_programs() -> Path:
    """The folder of the newest server's programs: Debian keeps them off the PATH."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(versions, key=lambda found: float(found.parts[-3]))
    return newest[-1].parent if newest else Path(_program("initdb", "postgresql")).resolve().parent


def _unprivileged_account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; its package made an account for it."""
    return None if os.geteuid() else pwd.getpwnam("postgres")
