"""``python -m bench``: the command line, where its script is not on the path."""

from bench.cli import main

if __name__ == "__main__":  # which a trial's process, that reads this file again, is not
    main(prog_name="bench")
