"""The example suites: they run, and their pages show what a run prints."""
