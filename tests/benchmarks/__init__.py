"""What the probes cost, as ratios within one run. `python tests/benchmarks/run.py` prints them."""
