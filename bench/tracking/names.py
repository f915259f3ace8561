"""Names under which the store keeps things, for those too who read it without MLflow."""

from __future__ import annotations

DATABASE = "mlflow.db"  # of a store's own
REFERS = "refers to"  # the run of another study that trained the trial; what has it is but a name for that run in its own study
CODE = "code"  # a tag: the digest of every code that a model was made of while it was trained, the first one first; "" is untold
FINAL = "final/"  # what begins the name of a metric that was measured once, at the end
SHORT = 8  # letters of a run's ID that are shown, and tell it apart
RUN_NAME = "mlflow.runName"  # a tag that holds a run's name once more, and changes it where it is written
