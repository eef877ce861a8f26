"""The science as values: cases, prompts, plans, effects, results. Numpy and the standard library."""
