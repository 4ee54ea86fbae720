"""Ratios against named alternatives and against the machine itself; run with `make bench`."""
