"""Read by the server of processes alone, before anything else: it ends with its driver, and what it forks with it."""

import os

from bench.executors.local import die_with_parent

die_with_parent()
os.register_at_fork(after_in_child=die_with_parent)
