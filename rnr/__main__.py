"""`python -m rnr` is `rnr`."""

from rnr.cli import main

if __name__ == "__main__":
    main()
