"""The incremental executor: exact probes that compute only what an intervention can have changed."""
