"""`python -m arrowseal`: the command."""

import sys

from arrowseal.cli import main

sys.exit(main())
