"""The scored head: log-probabilities of a few positions at a time, as the model's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from trainer_jobs import SFT, Job

from retrain.trainers import _head, _lora

# peft 0.21.2 reads an attribute that transformers 5.23 renamed and will drop in 6.0
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


def test_head_scores_completion_positions_alone(
    base: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(SFT)
    model = _lora.open_model(made, _lora.LORA)
    _head.score_completions_only(model)
    sizes: list[int] = []
    plain_part = _head.Head.part

    def part(head: _head.Head, hidden: torch.Tensor, *more: Any) -> Any:
        sizes.append(len(hidden))
        return plain_part(head, hidden, *more)

    monkeypatch.setattr(_head.Head, "part", part)
    monkeypatch.setattr(_head, "AT_ONCE", 4 * model.config.vocab_size)
    ids = torch.randint(3, 200, (2, 12))
    labels = ids.masked_fill(torch.arange(12) < 7, _head.IGNORED)
    outputs = model(input_ids=ids, labels=labels, fused_lm_head=True)
    assert sizes == [4, 4, 2]
    plain = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
    expected = plain.gather(-1, ids[:, 1:, None])[..., 0][:, 6:]
    torch.testing.assert_close(outputs.log_probs[:, 6:], expected)
    assert outputs.log_probs[:, :6].abs().sum() == 0


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("scale, cap", [(1.0, 0.0), (0.25, 0.0), (2.0, 3.0)])
def test_a_heads_gradient_is_that_of_plain_logits(
    scale: float, cap: float, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_head, "AT_ONCE", 4 * 50)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(50, 8, generator=generator)
    hidden = torch.randn(10, 8, generator=generator).requires_grad_()
    ids = torch.stack([torch.randperm(50, generator=generator)[:tokens] for _ in range(10)])
    mass = torch.rand(10, tokens, generator=generator).softmax(-1)
    temperature, given = torch.linspace(0.5, 1.5, 10), torch.randn(10, generator=generator)
    logits = hidden @ weight.T * scale
    logits = cap * torch.tanh(logits / cap) if cap else logits
    logs = (logits / temperature[:, None]).log_softmax(-1)
    plain = (logs.gather(1, ids) * mass).sum(1)
    (expected,) = torch.autograd.grad(plain @ given, hidden)
    ours = _head.Head(weight, scale, cap).log_probs(hidden, ids, mass, temperature)
    (found,) = torch.autograd.grad(ours @ given, hidden)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(found, expected)


def test_a_head_bends_logits_as_its_model_says(base: Path, job: Job) -> None:
    model = _lora.open_model(job(SFT), _lora.LORA).get_base_model()
    weight = model.get_output_embeddings().weight
    assert _head.Head.of(model) == _head.Head(weight)
    model.config.logits_scaling, model.config.final_logit_softcapping = 4.0, 30.0
    assert _head.Head.of(model) == _head.Head(weight, 0.25, 30.0)
    weight.requires_grad_()
    with pytest.raises(ValueError, match="head is trained too"):
        _head.Head.of(model)
