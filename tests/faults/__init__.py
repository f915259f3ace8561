"""Real studies, disturbed: finished work is not lost, not repeated, not mislabelled, and the next command goes on.

A case is a small study in a folder of its own, run by the command line and disturbed a few times; after each disturbance
the same command is run again, and after the last one left to end. `facts` then says what is not as in an undisturbed run. A
seed names a case.

    python -m tests.faults --out reports/reliability.md     the long run: 500 faults, and the table of what came of them
    python -m tests.faults --case 17                        one case again
    python -m pytest -m faults tests/faults                 the short run, which is part of the suite

Linux only: processes are found in /proc. A disk of its own, full or read-only, takes root.
"""
