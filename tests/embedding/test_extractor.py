"""Batched extraction: every embedding is that of its utterance alone, and the model is left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.embedding.tiny_networks import TINY, tiny_model
from wespk.embedding.extractor import embed_batches, embed_features, max_frames_for
from wespk.utils.errors import InputError


def utterances(count=23, dim=80, seed=0, low=9, high=160):
    """Features with a different offset for each utterance and bin, lengths from ``low`` up."""
    rng = np.random.default_rng(seed)
    lengths = [low, high, *rng.integers(low, high, count - 2)]
    return [(3 * rng.standard_normal((n, dim)) + 5 * rng.standard_normal(dim) - 8).astype(np.float32) for n in lengths]


def cosine_distance(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 1 - (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


class Identity(nn.Module):
    """Embedding = sums over time of the first coefficients of whatever comes in; ignores lengths on purpose."""

    feat_dim, embed_dim, min_frames = 4, 3, 1

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, feats, lengths=None):
        return feats[:, :, :3].pow(2).sum(dim=1) * self.scale


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("max_frames", [300, 1000, 100000])
def test_batched_embeddings_equal_one_by_one(name, max_frames):
    model, feats = tiny_model(name), utterances(low=20)
    alone = np.concatenate([embed_features(model, [x]) for x in feats])
    together = embed_features(model, feats, max_frames=max_frames)
    assert together.dtype == np.float32 and together.shape == (len(feats), 16)
    # float32 rounding: 1e-7 relative, summed over a few thousand terms
    assert cosine_distance(alone, together).max() < 1e-9
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    assert cosine_distance(alone, np.roll(alone, 1, axis=0)).max() > 1e-4  # the utterances do differ


def test_a_list_and_an_iterator_read_a_window_at_a_time_give_the_same():
    model, feats = tiny_model(), utterances(40)
    pulled = []

    def stream():
        for number, x in enumerate(feats):
            pulled.append(number)
            yield torch.from_numpy(x)

    streamed = embed_features(model, stream(), max_frames=20)
    np.testing.assert_array_equal(streamed, embed_features(model, feats, max_frames=20))
    assert pulled == list(range(40))


def test_the_mean_is_taken_over_the_whole_utterance_without_its_padding():
    rng = np.random.default_rng(0)
    feats = [rng.standard_normal((n, 4)).astype(np.float32) + 9 for n in (50, 46, 47)]
    expected = np.stack([((x - x.mean(axis=0))[:, :3] ** 2).sum(axis=0) for x in feats])
    np.testing.assert_allclose(embed_features(Identity(), feats, max_frames=150), expected, rtol=1e-5)
    scaled = np.stack([(((x - x.mean(axis=0)) / x.std(axis=0))[:, :3] ** 2).sum(axis=0) for x in feats])
    np.testing.assert_allclose(embed_features(Identity(), feats, cmn="mean_var", max_frames=150), scaled, rtol=1e-4)
    plain = np.stack([(x[:, :3] ** 2).sum(axis=0) for x in feats])
    np.testing.assert_allclose(embed_features(Identity(), feats, cmn="none", max_frames=150), plain, rtol=1e-5)


def test_training_flags_statistics_and_gradient_mode_are_left_as_they_were():
    model = tiny_model().train()
    model.bn1.eval()  # a layer frozen by its owner stays frozen
    flags = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    first = embed_features(model, utterances(5))
    assert [m.training for m in model.modules()] == flags and torch.is_grad_enabled()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    np.testing.assert_array_equal(embed_features(model, utterances(5)), first)
    model(torch.randn(2, 50, 80)).sum().backward()  # training goes on


def test_flags_come_back_after_an_error_too():
    model = tiny_model().train()
    with pytest.raises(InputError):
        embed_features(model, [np.full((50, 80), np.nan, dtype=np.float32)])
    assert model.training and torch.is_grad_enabled()


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_arithmetic_is_float32_whatever_the_caller_has_switched_on(precision):
    model, feats = tiny_model(), utterances(5)
    plain = embed_features(model, feats)
    seen = []
    handle = model.register_forward_pre_hook(lambda *_: seen.extend(float32_settings()))
    torch.set_float32_matmul_precision(precision)
    try:
        before = float32_settings()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            np.testing.assert_array_equal(embed_features(model, feats), plain)
        assert set(seen) == {"ieee"} and float32_settings() == before
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")
        handle.remove()


def float32_settings():
    """How torch computes float32 products and convolutions, on either device."""
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    return [unit.fp32_precision for unit in (cuda.matmul, cudnn.conv, mkldnn.matmul, mkldnn.conv)]


def test_no_utterances_give_no_embeddings():
    assert embed_features(tiny_model(), []).shape == (0, 16)


@pytest.mark.parametrize(("broken", "message"), [
    (np.zeros((8, 80)), "utterance c: 8 frames, but the model needs at least 9"),
    (np.zeros((0, 80)), "utterance c: 0 frames"),
    (np.zeros((50, 64)), r"utterance c: features of shape \(50, 64\), but the model takes frames x 80"),
    (np.full((50, 80), np.nan), "utterance c: its embedding is not finite"),
    (np.full((50, 80), np.inf), "utterance c: its embedding is not finite"),
])
def test_the_utterance_at_fault_is_named(broken, message):
    feats = utterances(5)
    feats[2] = broken.astype(np.float32)
    with pytest.raises(InputError, match=message):
        embed_features(tiny_model(), feats, max_frames=10000, keys=list("abcde"))
    with pytest.raises(InputError, match=message.replace(" c:", " 2:")):
        embed_features(tiny_model(), feats, max_frames=10000)


@pytest.mark.parametrize("named", [True, False])
def test_the_utterance_at_fault_is_named_however_late_it_comes(named):
    feats = utterances(60)
    feats[57] = feats[57][:5]
    keys = [f"u{i}" for i in range(60)] if named else None
    with pytest.raises(InputError, match=f"utterance {'u57' if named else '57'}: 5 frames"):
        embed_features(tiny_model(), feats, max_frames=20, keys=keys)  # windows of a few utterances each


def test_a_zero_embedding_is_refused_by_name():
    feats = [np.ones((5, 4)), np.zeros((5, 4))]
    with pytest.raises(InputError, match="utterance flat: its embedding is zero"):
        embed_features(Identity(), feats, cmn="none", keys=["loud", "flat"])


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_batches_read_ahead_by_threads_come_in_order(num_workers):
    model, feats, reports = tiny_model(), utterances(30), []
    batches = [np.array([4, 2]), np.array([29]), *np.arange(5, 29).reshape(8, 3), np.array([0, 1, 3])]
    order, rows = embed_batches(model, batches, feats.__getitem__, list(range(30)), num_workers=num_workers,
                                report=reports.append)
    assert order.tolist() == np.concatenate(batches).tolist() and reports[:3] == [2, 3, 6] and reports[-1] == 30
    expected = embed_features(model, feats)[order]
    assert cosine_distance(rows, expected).max() < 1e-9


def test_an_error_while_reading_ahead_stops_the_work_with_its_own_message():
    read, feats = [], utterances(30)

    def failing(index):
        read.append(index)
        if index == 3:
            raise InputError("ark cut short at utterance 3")
        return feats[index]

    with pytest.raises(InputError, match="cut short at utterance 3"):
        embed_batches(tiny_model(), [np.array([i]) for i in range(30)], failing, list(range(30)), num_workers=2)
    assert len(read) < 15  # it did not go on to the end


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90 GiB"),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")])
def test_a_batch_beyond_the_memory_names_its_longest_utterance_and_the_way_out(error):
    model = Identity()

    def exhausted(*_):
        raise error

    model.register_forward_pre_hook(exhausted)
    feats = [np.ones((5, 4)), np.ones((6, 4))]
    with pytest.raises(InputError, match=r"2 utterances padded to 6 .* \(the longest is b\): lower --max-frames"):
        embed_features(model, feats, keys=["a", "b"], max_frames=100)


def test_other_errors_of_the_network_stay_what_they_are():
    model = Identity()
    model.register_forward_pre_hook(lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        embed_features(model, [np.ones((5, 4))])


def test_the_size_of_batches_follows_the_device_unless_given():
    assert max_frames_for("cpu") < max_frames_for("cuda") and max_frames_for("cpu", 50) == 50
    with pytest.raises(InputError, match="not -1"):
        max_frames_for("cpu", -1)
