"""x"""

from mailer.bell.app import QUEUE, RING, make_app
from mailer.bell.ringer import Bell
from mailer.bell.transport import url

__all__ = ["QUEUE", "RING", "Bell", "make_app", "url"]
