"""Moments at which a driver is killed: before or after the calls that leave something behind."""

from __future__ import annotations

import os
import signal
from typing import Any

NAMES = (
    "create_run",
    "log_batch",
    "log_inputs",
    "update_run",
    "set_tag",
    "delete_tag",
    "set_terminated",
    "create_experiment",
    "set_experiment_tag",
    "replace",
    "rename",
    "rmtree",
    "fsync",
    "create_new_trial",
    "set_trial_state_values",
    "set_trial_user_attr",
    "set_trial_param",
    "enqueue_trial",
    "backup",
    "make a database",
)
"""What of MLflow's, of the file system's and of Optuna's a driver calls that changes anything."""


def kill_in(name: str, number: int, after: bool) -> None:
    """Let this process be killed in the call of ``name`` of this number, before or after it is done."""
    owner, attribute = _found(name)
    real = getattr(owner, attribute)
    calls = 0

    def call(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = real(*args, **options)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, attribute, call)


def _found(name: str) -> tuple[Any, str]:
    import shutil

    import optuna
    from mlflow import MlflowClient
    from optuna.storages import RDBStorage

    from bench import databases

    places: dict[str, tuple[Any, str]] = {
        "replace": (os, "replace"),
        "rename": (os, "rename"),
        "rmtree": (shutil, "rmtree"),
        "fsync": (os, "fsync"),
        "enqueue_trial": (optuna.study.Study, "enqueue_trial"),
        "backup": (databases, "copy"),
        "make a database": (databases, "_move"),
    }
    if name in places:
        return places[name]
    owner: Any = MlflowClient if hasattr(MlflowClient, name) else RDBStorage
    return owner, name
