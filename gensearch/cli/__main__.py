"""`python -m gensearch.cli` is the command line."""

from gensearch.cli.main import main

if __name__ == "__main__":
    main()
