"""Datasets: a module a format, each with `read(source) -> Records`; samples and negatives."""
