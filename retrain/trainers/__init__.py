"""Trainers, one file each, found by name: `train(job: TrainJob) -> dict[str, Any]`."""

import os

# huggingface_hub reads these once, at its first import. A trainer works on local folders
# and calls nobody.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Threads that wait must sleep, not spin: serving shares the cores with a training.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
