"""`python3 bench [OPTIONS]`; see `--help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.cli import main  # noqa: E402

sys.exit(main())
