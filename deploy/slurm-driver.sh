#!/usr/bin/env bash
# The driver of a study as a job of its own, for sites where a login node ends what runs for long: sbatch deploy/slurm-driver.sh latent_dim
# It submits the trials, one job each, with a GPU. Both must see the folder that this is called from.
#SBATCH --job-name=bench-driver
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=7-00:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=bench-driver-%j.log
set -euo pipefail

# Two minutes before its time is over the driver is told to stop: it cancels its jobs, whose checkpoints stay. The same command goes on.
trap 'kill -TERM "$driver"' TERM

.venv/bin/bench run study "$1" --executor submitit --threads 4 \
  --slurm partition=gpu --slurm gpus_per_node=1 --slurm mem_gb=16 --slurm timeout_min=600 &
driver=$!
wait "$driver" || wait "$driver"
