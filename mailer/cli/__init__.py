"""The command `mailer`: every role, every tool, one entry.

Commands live one group a module and import what they work with inside, so that `mailer version` and
`--help` cost no more than click. Each loads the settings itself (options go before the environment),
prints for people or with `--json` one JSON value, and ends with 0, or with one clear sentence on stderr
and 1 (2 where the command line or a setting is at fault). faults.py knows which errors are sentences;
any other is a defect and keeps its traceback.

`mailer up` (up.py) prepares the data folder and runs the roles as child processes under supervisor.py.
"""

from mailer.cli.entry import main

__all__ = ["main"]
