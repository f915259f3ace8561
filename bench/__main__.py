"""``python -m bench``: the command line, where its script is not on the path."""

from bench.cli import program

if __name__ == "__main__":  # which a trial's process, that reads this file again, is not
    program()
