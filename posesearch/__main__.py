"""`python -m posesearch` is the `posesearch` command."""

import sys

from posesearch.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
