"""Run the command line with ``python -m alchemflows``."""

from alchemflows.cli import main

if __name__ == "__main__":
    main()
