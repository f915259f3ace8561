"""Every study and every model on a tiny subset, in one process: reading torch and MLflow takes longer than training does."""

import bench

for study in bench.studies():
    summary = bench.run(study, smoke=True)
    assert list(summary["finished"]) == list(summary["total"]), summary
    print(study, *summary["variant"], bench.report(study, smoke=True).parent.name, sep=", ", flush=True)
