"""`python -m wellspring`."""

from wellspring.cli import main

main()
