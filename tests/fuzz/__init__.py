"""Bad input by the thousand: files and command lines, mutated, against everything that reads them.

    python -m tests.fuzz --count 20000 --seed 0 --out reports/reliability.md     20,000 in all, and a section of that page
    python -m tests.fuzz npz idx:headers                                         of one reader, of one of its mutations
    python -m tests.fuzz npz:headers --start 12 --count 1                        one again, as a broken one is told

What is read is read; what is not is refused with one line that names the place, by an error that the suite foresees. Anything
else is broken: another error, more than a line, 30 seconds of a core, two gibibytes, something that is run, something that is
written elsewhere. Linux only: what memory there is is found in /proc.
"""
