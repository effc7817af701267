"""`python -m clawbus` is `clawbus`."""

from clawbus.cli import main

main()
