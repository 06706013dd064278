import pytest

from codequarry.benchmarks.training.contender import Setup, Step
from codequarry.benchmarks.training.roof import Roof, clock_of, step_flops


@pytest.mark.parametrize("tokens", [16, 200])
def test_the_operations_of_a_step_are_those_that_torch_counts(tokens: int) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import Qwen2Config, Qwen2Model

    config = Qwen2Config(
        vocab_size=50, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="eager",
    )  # fmt: skip
    model = Qwen2Model(config)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(tokens)[None] % 50).last_hidden_state.sum().backward()

    table = model.embed_tokens.weight.numel()
    parameters = sum(weight.numel() for weight in model.parameters()) - table
    setup = Setup(parameters, 3, 64, False, "", "eager", False, 0)
    needed = step_flops(setup, Step(0, 0, 0, tokens, tokens**2, 0))
    # The first layer's inputs come from the table through a norm, so nothing is left out; norms, biases and
    # rotations are what torch does not count.
    assert needed == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_causal_attention_needs_half() -> None:
    step = Step(0, 0, 0, 10, 100, 0)
    whole, causal = (step_flops(Setup(0, 2, 8, causal, "", "", False, 0), step) for causal in (False, True))
    assert (whole, causal) == (12 * 2 * 8 * 100, 6 * 2 * 8 * 100)


def test_the_roof_only_rises_and_is_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codequarry.benchmarks.training.roof._SIZES", {"cpu": (64, 256)})
    roof = Roof("cpu", "fp32", 1)
    roof.look()
    first = roof.best
    roof.look()
    assert roof.best >= first
    assert 1e8 < first < 1e13


def test_one_thread_is_timed_by_the_processor() -> None:
    assert [clock_of("cpu", 1), clock_of("cpu", 2), clock_of("cuda", 1)] == ["cpu", "wall", "wall"]
