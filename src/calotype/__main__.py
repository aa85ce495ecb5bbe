"""``python -m calotype``."""

import sys

from calotype.cli import main

sys.exit(main())
