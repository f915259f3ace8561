"""One file per measurement, which yields one or several named values: the metrics that a study asks for.

A file holds ``VALUES``, the better direction of each value by name; ``NEEDS``, the capability that it asks of a model;
``EXTRACTOR``, whose features it compares, or None, and ``OF_TRAINING`` where it compares those of training images too; and
``measure(model, data, context)``, which gives a `bench.score.Score` for every value. The first line of its docstring says what it
measures; where it has several values, a line that begins with ``<value>: `` says what each is.
"""
