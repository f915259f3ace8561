"""Every other study and every model on a tiny subset, in one process: reading torch and MLflow takes longer than training does.

What makes the documents' figures, as docs/sources.md tables it, tests/test_sources.py has run.
"""

import re
from pathlib import Path

import bench

sources = Path(__file__).parent.parent / "docs" / "sources.md"
tested = set(re.findall(r"bench run study (\w+)", sources.read_text()))
for study in bench.studies():
    if study in tested:
        continue
    summary = bench.run(study, smoke=True)
    assert list(summary["finished"]) == list(summary["total"]), summary
    print(study, *summary["variant"], bench.report(study, smoke=True).parent.name, sep=", ", flush=True)
