"""`python -m steering`."""

from steering.cli import main

raise SystemExit(main())
