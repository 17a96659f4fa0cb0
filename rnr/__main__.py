"""`python -m rnr` is `rnr`."""

from rnr.app.cli import main

if __name__ == "__main__":
    main()
