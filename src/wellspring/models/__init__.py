"""Checkpoints: where they lie, what they are, how they load. One module an architecture."""
