"""What is remembered: the only room that knows MLflow.

One experiment per study, one flat run per trial. ``store.py`` reads, ``writer.py`` writes, each run as in ``run_log.py``;
``shared.py`` is for trials that several studies hold, ``repair.py`` fixes, ``reach.py`` is for a store that does not answer.
"""

import os

# Read by MLflow when it is imported: no telemetry, no notices about its own databases and git.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# MLflow's client would try for five minutes before it says a word; `writer` tries for as long as there is something to write.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")


def hush() -> None:
    """Keep MLflow's log of its databases out of the terminal: whole pages on what we say in a line. Before one is opened."""
    import logging  # which those who only read a store's names can do without

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
