"""What is remembered: the only room that knows MLflow.

One experiment per study, one flat run per trial. ``store.py`` reads, ``writer.py`` writes, ``repair.py`` fixes.
"""

import os

# Read by MLflow when it is imported: no telemetry, no notices about its own databases and git.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
