"""Hypothesis strategies that draw cases and contexts."""
