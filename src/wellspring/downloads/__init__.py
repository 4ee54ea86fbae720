"""Bytes from a network: files by URL, checkpoints and datasets from a Hugging Face hub."""
