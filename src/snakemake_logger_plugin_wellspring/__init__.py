"""`snakemake --logger wellspring`: Snakemake finds its plugins by the names of their packages."""

from wellspring.live.handler import LogHandler

__all__ = ["LogHandler"]
