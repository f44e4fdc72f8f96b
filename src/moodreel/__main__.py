"""`python -m moodreel` is the `moodreel` command."""

from moodreel.cli import main

main()
