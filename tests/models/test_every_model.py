"""What every registered network promises, at sizes small enough for a test."""

import pytest
import torch

from wespk.models import build_model, load_all
from wespk.utils.errors import InputError

NAMES = load_all().names()
SMALL = {
    "ecapa_tdnn": {"channels": 16, "aggregate": 24},
    "xvector": {"hidden": 16, "stats": 24},
    "resnet": {"base_channels": 2},
}


def small(name, **options):
    """A narrow network of this name on 20 coefficients, whose batch norms have seen data, in evaluation mode."""
    torch.manual_seed(0)
    key = "resnet" if name.startswith("resnet") else name
    model = build_model({"name": name, "feat_dim": 20, "embed_dim": 12, **SMALL.get(key, {}), **options})
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 40, 20) * 2)
    return model.eval()


def feats(batch, frames, dim=20):
    """Frames scattered about a mean spectrum of each utterance's own."""
    generator = torch.Generator().manual_seed(batch * 1000 + frames)
    return torch.randn(batch, frames, dim, generator=generator) + 2 * torch.randn(batch, 1, dim, generator=generator)


def cosine_distance(a, b):
    return 1 - torch.cosine_similarity(a.double(), b.double(), dim=-1)


def test_the_registry_holds_the_promised_names():
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet221", "resnet293",
            "resnet18_p", "resnet34_p", "resnet50_p", "resnet101_p", "ecapa_tdnn", "xvector"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_output_has_one_float32_embedding_an_utterance_at_odd_lengths(name):
    model = small(name)
    for frames in (model.min_frames, 31, 64, 97):
        out = model(feats(2, frames))
        assert out.shape == (2, model.embed_dim) and out.dtype == torch.float32 and out.isfinite().all()


def padded_and_single(model, lengths):
    utterances = [feats(1, n) for n in lengths]
    batch = torch.full((len(lengths), max(lengths) + 7, 20), float("nan"))
    for row, utterance in zip(batch, utterances):
        row[: utterance.shape[1]] = utterance[0]
    return model(batch, torch.tensor(lengths)), torch.cat([model(u) for u in utterances])


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_change_an_embedding(name):
    model = small(name)
    with torch.no_grad():
        together, alone = padded_and_single(model, [model.min_frames, 33, 50, 61, 64, 90])
        assert cosine_distance(together, alone).max() < 1e-6  # a tenth of what is promised
        assert (together - alone).norm(dim=1).max() < 1e-3 * (alone - alone.mean(0)).norm(dim=1).min()
        lengths = torch.full((3,), 40)
        torch.testing.assert_close(model(feats(3, 40), lengths), model(feats(3, 40)))


@pytest.mark.parametrize("pooling", ["mean", "tstp", "astp", "astp_global"])
@pytest.mark.parametrize("name", ["resnet18", "ecapa_tdnn", "xvector"])
def test_padding_does_not_change_an_embedding_under_any_pooling(name, pooling):
    with torch.no_grad():
        together, alone = padded_and_single(small(name, pooling=pooling), [17, 33, 50, 64])
    assert cosine_distance(together, alone).max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_give_the_same_embeddings(name, tmp_path):
    model, other = small(name), small(name)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(model(feats(2, 30)), other(feats(2, 30)))


OPTIONS = [("resnet152", {"activation": "prelu"}), ("resnet18", {"pooling": "astp"}), ("ecapa_tdnn", {"pooling": "tstp"})]


@pytest.mark.parametrize("name, options", [(n, {}) for n in NAMES] + OPTIONS, ids=str)
def test_every_parameter_receives_a_gradient(name, options):
    model = small(name, **options).train()
    model(feats(4, 33)).square().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_gives_finite_float32_embeddings_near_the_float32_ones(name):
    model, x = small(name), feats(3, 50)
    with torch.no_grad():
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(x)
            with_lengths = model(x, torch.tensor([50, 40, 30]))
    assert rounded.dtype == torch.float32 and rounded.isfinite().all() and with_lengths.isfinite().all()
    assert cosine_distance(exact, rounded).max() < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_too_few_frames_are_refused_stating_the_minimum(name):
    model = small(name)
    short = model.min_frames - 1
    with pytest.raises(InputError, match=rf"{short} frames.*min_frames is {model.min_frames}"):
        model(feats(2, short))
    with pytest.raises(InputError, match=rf"utterance 1 .* {short} frames.*min_frames.* {model.min_frames}"):
        model(feats(2, 50), torch.tensor([50, short]))


def test_unfit_input_is_refused():
    model = small("resnet18")
    with pytest.raises(InputError, match=r"\(batch, frames, 20\), not \(2, 30, 21\).*model.feat_dim"):
        model(torch.zeros(2, 30, 21))
    with pytest.raises(InputError, match="lengths must be 2 integers"):
        model(feats(2, 30), torch.tensor([30]))
    with pytest.raises(InputError, match="lengths must be 2 integers"):
        model(feats(2, 30), torch.tensor([30.0, 20.0]))
    with pytest.raises(InputError, match="utterance 0 .* 31 frames, but the batch has 30"):
        model(feats(2, 30), [31, 20])
    with pytest.raises(InputError, match="evaluation mode"):
        model.train()(feats(2, 30), [30, 20])


@pytest.mark.parametrize("conf, message", [
    ({"name": "resnet43"}, "unknown model 'resnet43'.*did you mean"),
    ({"name": "resnet34", "poling": "tstp"}, "no option 'poling'.*did you mean 'pooling'"),
    ({"name": "resnet34", "depths": [1, 1, 1, 1]}, "no option 'depths'"),
    ({"name": "resnet18", "pooling": "tspt"}, "pooling: 'tspt' is unknown .did you mean 'tstp'"),
    ({"name": "resnet18", "activation": "gelu"}, "activation: 'gelu' is unknown"),
    ({"name": "resnet18", "embed_dim": 0}, "embed_dim takes an integer above 0, not 0"),
    ({"name": "resnet18", "base_channels": 32.0}, "base_channels takes an integer above 0"),
    ({"name": "ecapa_tdnn", "channels": 100}, "channels must be a multiple of 8, not 100"),
])
def test_unfit_options_are_refused_by_name(conf, message):
    with pytest.raises(InputError, match=message):
        build_model(conf)
