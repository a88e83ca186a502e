"""`python -m dtir`: the same as `dtir`."""

import sys

from dtir.cli import main

if __name__ == "__main__":
    sys.exit(main())
