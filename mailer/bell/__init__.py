"""The bell: how a door tells workers in other processes that there is work, and nothing more.

The database is the queue (mailer/queue); a bell lost costs one sweep interval, one too many finds nothing
to claim. It rides on Celery, so RabbitMQ or Redis carry it between hosts (app.py: what Celery is told).
`Bell` (ringer.py) rings for a door: a flag and a thread, at once and then at most every 15 ms, and not at
all while a bell waits unread. The worker's end is mailer/tasks.py.

On one machine nothing is installed: `bell://` (transport.py) is a kombu transport over named pipes
(fifo.py), one per worker in a folder. A ring reaches every worker, so that one stopped or stuck does not
swallow it; each holds at most one, and a pipe whose worker died is removed by the next ring.

Decided by measurement (python -m tests.bench.bell_latency; 2 cores, Python 3.11, Celery 5.7, Linux 6;
300 rings 15 to 40 ms apart, from `ring` to work in another process; asked for: p95 20 ms, idle 1 %):

                             p50 ms   p95 ms   max ms   idle, of a core
    named pipe, bare           0.14     0.23     0.29
    unix datagram, bare        0.04     0.08     0.16
    bell://, told at once      0.37     0.52     1.46   0.01 %
    Celery on bell://          0.90     1.15     4.21   0.06 %
    Celery on files,  5 ms     2.94     5.53     5.68   1.64 %   ended after 28 rings
    Celery on files, 10 ms     5.73    10.73    11.04   0.92 %   ended after 41 rings
    Celery on RabbitMQ         1.17     1.60     2.02   0.10 %
    Celery on Redis            2.12     2.77     3.27   0.17 %

A task of Celery's costs ten times what either kernel primitive does (the bare pipe's figure has the look into
the folder in it, the datagram's has not), so the pipe was chosen for how it behaves, and the embedded bell is
told without a task (transport.py), which also left a tenth of a worker's CPU for mail:

- A ringer sees what is unread in a pipe (FIONREAD) and rings only where nothing is. A datagram socket
  hides it: ten pile up (net.unix.max_dgram_qlen), then one is dropped.
- A pipe that nobody holds open says so when it is opened (ENXIO), and its path may be of any length,
  where a socket's ends at 108 bytes (unix(7)).
- kombu's files transport polls, and reads files that are not yet written: the error ended the worker in
  every run. Waiting for files by inotify would need a package or ctypes.
- A stream socket would need a connection per door and worker, and its loss seen and mended.
"""

from mailer.bell.app import QUEUE, RING, make_app
from mailer.bell.ringer import Bell
from mailer.bell.transport import ON_RING, url

__all__ = ["ON_RING", "QUEUE", "RING", "Bell", "make_app", "url"]
