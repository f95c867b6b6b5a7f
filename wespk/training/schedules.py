"""Learning rate, margin and the like as pure functions of the global step: nothing to save, nothing to drift on resume."""

import math


def learning_rate(step, total_steps, name, lr, final_lr, warmup_steps=0):
    """Learning rate of optimiser step ``step`` (0-based) out of ``total_steps``.

    exponential: lr * (final_lr / lr) ** (step / total_steps); cosine: half a cosine from lr to final_lr; constant: lr.
    Each is multiplied by a linear warm-up that reaches 1 at ``warmup_steps`` and is never 0.

    cosine_after_warmup: from 0, at step 0, linearly to lr at the last of ``warmup_steps`` (whole ones), and from the next
    on half a cosine over the steps left, to final_lr, which step ``total_steps`` would have. (Caron et al. 2021, DINO.)
    """
    if name == "cosine_after_warmup":
        return _cosine_after_warmup(step, total_steps, lr, final_lr, int(warmup_steps))
    done = min(step / total_steps, 1.0)
    if name == "exponential":
        value = lr * (final_lr / lr) ** done
    elif name == "cosine":
        value = _half_cosine(lr, final_lr, done)
    elif name == "constant":
        value = lr
    else:
        raise ValueError(f"unknown schedule '{name}'")
    return value * min(1.0, (step + 1) / warmup_steps) if warmup_steps > 0 else value


def _cosine_after_warmup(step, total_steps, lr, final_lr, warmup_steps):
    if step < warmup_steps:
        return lr * step / max(warmup_steps - 1, 1)
    done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return _half_cosine(lr, final_lr, done)


def _half_cosine(initial, final, done):
    """From ``initial``, at a share ``done`` of 0, to ``final``, at 1."""
    return final + (initial - final) * 0.5 * (1 + math.cos(math.pi * done))


def margin(step, initial, final, start_step, end_step, shape="exp"):
    """Margin of the loss at ``step``: ``initial`` before ``start_step``, ``final`` from ``end_step`` on.

    Between them it grows linearly, or (``exp``) as 1 - 0.001 ** (share of the way), fast at first: the schedule that
    the published VoxCeleb recipes use.
    """
    if step >= end_step:
        return final
    if step < start_step:
        return initial
    share = (step - start_step) / (end_step - start_step)
    if shape == "exp":
        share = 1.0 - 1e-3**share
    return initial + (final - initial) * share


def teacher_momentum(step, total_steps, initial=0.996, final=1.0):
    """Momentum of the EMA teacher after optimiser step ``step`` (0-based) out of ``total_steps``.

    Half a cosine from ``initial``, at step 0, to ``final``, which step ``total_steps`` would have.
    """
    return _half_cosine(initial, final, min(step / total_steps, 1.0))


def teacher_temperature(step, warmup_steps, initial=0.04, final=0.07):
    """Temperature of DINO's teacher at ``step``: grows linearly from ``initial`` to ``final``, reached at ``warmup_steps``."""
    return final if step >= warmup_steps else initial + (final - initial) * step / warmup_steps
