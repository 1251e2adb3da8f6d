"""`python3 molecule/lab VERB …`"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from lab.cli import main  # noqa: E402

sys.exit(main())
