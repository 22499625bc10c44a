"""Every decision, as pure functions: facts, `now` and the draw come in, a value goes out.

Nothing here reads a clock, throws dice, or does I/O, so that any decision can be printed,
tested and replayed from the record of attempts.
"""
