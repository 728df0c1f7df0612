"""The language model's head while training: scored positions alone, never all logits at once."""

import math
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from peft import PeftModel
from torch.nn.functional import linear
from trl.trainer.utils import FusedCausalLMOutput

IGNORED = -100  # torch's own mark for a position without a loss
AT_ONCE = 2**25  # logits that are held at a time: 128 MiB in float32
# What configurations call the number that logits are multiplied with, divided by, or bent at.
TIMES, OVER, CAP = (
    ("logit_scale", "lm_head_multiplier"),
    ("logits_scaling",),
    "final_logit_softcapping",
)


def score_completions_only(model: PeftModel) -> None:
    """Apply the language model's head to the scored positions alone.

    Answers the call of TRL's own fused head (`labels=…, fused_lm_head=True`), which on a CPU
    covers every position and goes back in float32: 2.3 times slower there.
    The passes over the vocabulary that TRL's side metrics take are left out as well.
    `temperature`, one per row, divides the logits. `towards`, token ids and their probabilities for
    each scored position (see `Head.log_probs`), takes the place of the labels there.
    """
    causal = model.get_base_model()
    plain_forward = causal.forward

    def forward(_: Any, *args: Any, fused_lm_head: bool = False, **inputs: Any) -> Any:
        return _score(causal, *args, **inputs) if fused_lm_head else plain_forward(*args, **inputs)

    causal.forward = MethodType(forward, causal)


def _score(
    causal: Any,
    *args: Any,
    labels: torch.Tensor,
    temperature: torch.Tensor | None = None,
    towards: tuple[torch.Tensor, torch.Tensor] | None = None,
    **inputs: Any,
) -> FusedCausalLMOutput:
    inputs["use_cache"] = False
    hidden = causal.base_model(*args, **inputs).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    scored = targets != IGNORED
    warmth = torch.ones_like(scored, dtype=torch.float32)
    if temperature is not None:
        warmth = warmth * temperature[:, None]
    ids, mass = towards or surely(targets[scored])
    log_probs = Head.of(causal).log_probs(hidden[scored], ids, mass, warmth[scored])
    unmeasured = torch.zeros_like(scored, dtype=torch.float32)
    return FusedCausalLMOutput(
        log_probs=torch.zeros_like(unmeasured).masked_scatter(scored, log_probs),
        entropy=unmeasured,
        mean_logits=unmeasured,
        is_top1=torch.zeros_like(scored),
        label_mask=scored,
    )


def surely(targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, mass), [n, 1] each, of tokens [n] that have all the mass at their positions."""
    return targets[:, None], torch.ones_like(targets, dtype=torch.float32)[:, None]


@dataclass(frozen=True)
class Head:
    """How a model makes logits of hidden states: cap * tanh(scale * W h / cap), or without cap."""

    weight: torch.Tensor  # [vocabulary, width]
    scale: float = 1.0  # of Cohere, Granite, Falcon-H1
    cap: float = 0.0  # of Gemma 2; 0: none

    @classmethod
    def of(cls, causal: Any) -> "Head":
        """Raises ValueError for a head that learns too: the gradient is that of `hidden` alone."""
        module, config = causal.get_output_embeddings(), causal.config.get_text_config()
        if module.weight.requires_grad or module.bias is not None:
            raise ValueError(
                "The model's head is trained too, or has a bias, and Redraft's trainers know "
                "neither. Leave lm_head out of what the method trains."
            )
        told = {name: getattr(config, name, None) for name in (*TIMES, *OVER, CAP)}
        scale = math.prod(told[name] or 1.0 for name in TIMES)
        scale /= math.prod(told[name] or 1.0 for name in OVER)
        return cls(module.weight, scale, told[CAP] or 0.0)

    def log_probs(
        self,
        hidden: torch.Tensor,
        ids: torch.Tensor,
        mass: torch.Tensor,
        temperature: torch.Tensor,
    ) -> torch.Tensor:
        """Expected log probability [n], after each hidden state [n, width], of a token drawn from
        `ids` [n, k] by the probabilities `mass` [n, k], which sum to 1 in each row.
        """
        # torch gives `apply` no types
        return _LogProbs.apply(hidden, self, ids, mass, temperature)  # type: ignore[no-any-return,no-untyped-call]

    def part(
        self,
        hidden: torch.Tensor,
        ids: torch.Tensor,
        mass: torch.Tensor,
        temperature: torch.Tensor,
        slopes: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(log probabilities, their gradients by `hidden` or nothing) of some positions."""
        logits = linear(hidden, self.weight).float() * self.scale
        bent: torch.Tensor | float = 1.0
        if self.cap:
            flat = torch.tanh(logits / self.cap)
            logits, bent = flat * self.cap, 1 - flat**2
        logs = (logits / temperature[:, None]).log_softmax(-1)
        found = (logs.gather(1, ids) * mass).sum(1)
        if not slopes:
            return found, hidden[:0]
        off = logs.exp_().neg_().scatter_add_(1, ids, mass)
        slope = (off * bent).to(self.weight.dtype) @ self.weight
        return found, (slope.float() * (self.scale / temperature)[:, None]).to(hidden.dtype)


class _LogProbs(torch.autograd.Function):
    """Log probabilities with their gradient by hidden state, which is made on the way forward.

    d log p(t) / d h = W[t] - sum over v of p(v) W[v], and the mean of that over the tokens t that
    have mass: a vector of the hidden width takes the place of a row of the vocabulary's width, so
    that no such rows wait for the way back.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: Head,
        ids: torch.Tensor,
        mass: torch.Tensor,
        temperature: torch.Tensor,
    ) -> torch.Tensor:
        rows = max(1, AT_ONCE // len(head.weight))
        pieces = (torch.split(x, rows) for x in (hidden, ids, mass, temperature))
        slopes = ctx.needs_input_grad[0]
        made = [head.part(h, i, m, t, slopes) for h, i, m, t in zip(*pieces, strict=True)]
        ctx.save_for_backward(torch.cat([slope for _, slope in made]))
        return torch.cat([found for found, _ in made])

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return slope * given[0][:, None].to(slope.dtype), None, None, None, None
