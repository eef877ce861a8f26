"""The incremental executor: exact, and computes only what can have changed."""
