"""The entry point of the command line, also of ``python -m alchemflows``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported is one line on stderr, too."""
    try:
        from alchemflows.cli import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
