"""The probes, as their papers describe them. They know a model by its port alone, never torch."""
