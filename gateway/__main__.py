"""`python -m gateway` is the `consilium` command."""

from gateway.cli import main

main()
