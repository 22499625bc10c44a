"""Schema changes in order. `pre_*` may run while the old code still works, `post_*` only after it ended."""
