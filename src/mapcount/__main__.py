"""`python -m mapcount`."""

from mapcount.cli import main

if __name__ == "__main__":
    main()
