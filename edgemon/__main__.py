"""`python -m edgemon` is the same program as `edgemon`."""

import sys

from edgemon.cli import main

sys.exit(main())
