"""`python -m moodreel` is the `moodreel` command."""

from moodreel.cli.main import main

main()
