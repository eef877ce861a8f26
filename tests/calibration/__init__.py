"""The calibration study: every probe and every candidate score, on models whose truth is known."""
