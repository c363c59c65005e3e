"""`python -m gigq`: the same as the command `gigq`."""

import sys

from gigq.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
