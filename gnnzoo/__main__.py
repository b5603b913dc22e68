"""``python -m gnnzoo`` is the command line."""

from gnnzoo.cli import main

main()
