"""Torch and transformers live here and nowhere else: the adapter, and the executors of plans."""
