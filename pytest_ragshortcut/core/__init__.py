"""The science as values: cases, prompts, plans, effects, results. Numpy and nothing else."""
