"""`python -m ex4d.cli`."""

from ex4d.cli import main

main()
