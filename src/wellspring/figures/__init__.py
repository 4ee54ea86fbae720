"""Figures of the findings, ready to print. Nothing is computed here but what a picture bins."""
