"""What lies in ``deploy/``: read as those who use it read it."""

from __future__ import annotations

import importlib.resources
import json
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml

from bench.cli.run import run_study

DEPLOY = Path(__file__).parent.parent / "deploy"


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'")
def test_the_cluster_is_one_that_ray_takes() -> None:
    import jsonschema  # comes with Ray

    config = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    jsonschema.validate(
        config, json.loads((importlib.resources.files("ray") / "autoscaler" / "ray-schema.json").read_text())
    )
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    started = [line for line in commands if "ray start" in line]
    assert len(started) == 2
    assert all(line.startswith("RAY_AUTH_MODE=token ") for line in started)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_driver_under_slurm_is_a_script_whose_command_there_is() -> None:
    script = DEPLOY / "slurm-driver.sh"
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text().replace("\\\n", " ")
    (command,) = [line for line in text.splitlines() if "bench run study" in line]
    words = shlex.split(command.removesuffix("&"))[3:]
    given, rest, _ = run_study.make_parser(click.Context(run_study)).parse_args(words)
    assert (given["name"], given["executor"], rest) == ("$1", "submitit", [])
    directives = [line.split()[1].partition("=")[0] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert "--signal" in directives
