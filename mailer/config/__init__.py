"""Settings: read once, at the start, from environment variables MAILER_* and command-line options.

settings.py is the one table: every setting with its default, unit, range, example and meaning; what
`mailer check-config` prints and what the README shows is made from it (describe.py). values.py parses
texts into types, load.py reports every fault at once. Nobody below the composition root reads settings:
the stages get values (a RetrySchedule, limits, a RouteTable).
"""

from mailer.config.load import ConfigError
from mailer.config.settings import Mode, Settings, role_name

__all__ = ["ConfigError", "Mode", "Settings", "role_name"]
