"""ECM Mailer: accept a message durably, deliver it once, say what became of it.

The folders are the stages of a message's journey: accept, compose, queue, relay, report.
What each stage promises stands in its own package docstring.
"""

__version__ = "0.1.0"
