"""Doors, and the one way in: every door produces a Submission and calls `intake.take`.

A refusal is a SubmissionError with a stable type; it writes nothing but the `rejected` event.
An acceptance is answered only after the message is committed to disk.
"""
