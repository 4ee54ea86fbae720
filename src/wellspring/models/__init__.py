"""Checkpoints: where they are, what they hold, how they load. Each architecture has one module."""
