"""``python -m covid_core VERB``: see ``covid_core.cli``."""

import sys

from covid_core.cli import main

sys.exit(main())
