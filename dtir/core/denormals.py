"""Numbers too small for a CPU's fast path."""

import torch


def flush_denormals() -> None:
    """From now on, a float32 below 1.2e-38 counts as zero, on this thread and those it begins, where the CPU can do so.

    A CPU takes a hundred times as long for such a number as for another one. They come up in gradients, such as those
    of a GELU far from zero. It holds for all that the threads compute, NumPy's and Python's numbers too (a float64
    below 2.2e-308), so only a training and a program's own process call it; and early, as threads that compute take it
    from the one that begins them, and those that run already do not. GPUs do not know it.
    """
    torch.set_flush_denormal(True)
