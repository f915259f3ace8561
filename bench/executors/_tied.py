"""Read by the server of processes alone, before anything else: it ends with its driver."""

from bench.executors.local import die_with_parent

die_with_parent()
