"""What trainers share that ask a frozen reference about their rows, once and before they train."""

from typing import Any, ClassVar

import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from retrain.job import TrainJob
from retrain.trainers import _head

PART = "reference"


class AsksReference:
    """Before TRL's DPOTrainer or KTOTrainer among a class's bases.

    Rows are token ids already, so that training sees what serving sees; all passes have our head.
    TRL's way to ask the reference leaves its answers in a file that other processes look for in a
    cache of their own; here each has them in memory, and each batch is told as progress.
    """

    ASKED: ClassVar[tuple[str, ...]]  # the columns that `compute_ref_log_probs` gives
    model: Any
    accelerator: Any
    data_collator: Any
    compute_ref_log_probs: Any
    precompute_ref_logps: bool  # by TRL while it is constructed

    def __init__(self, job: TrainJob, **arguments: Any) -> None:
        self._job = job
        super().__init__(**arguments)
        if not self.precompute_ref_logps:  # else it has the head since it was asked
            _head.score_completions_only(self.model)

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, _: str, batch_size: int) -> Dataset:
        _head.score_completions_only(self.model)
        loader = DataLoader(dataset, batch_size, collate_fn=self.data_collator)
        batches = self.accelerator.prepare(loader)
        found = []
        for number, batch in enumerate(batches, 1):
            answers = self.compute_ref_log_probs(self.model, batch)
            found.append([part.cpu() for part in self.accelerator.gather_for_metrics(answers)])
            self._job.progress(number, len(batches), {}, part=PART)
        for name, parts in zip(self.ASKED, zip(*found, strict=True), strict=True):
            dataset = dataset.add_column(name, torch.cat(parts).tolist())
        return dataset
