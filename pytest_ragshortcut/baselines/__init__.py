"""Stored scores that a later run is compared with."""
