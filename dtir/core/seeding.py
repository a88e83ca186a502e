"""Counter-based randomness: every random number is a function of what it is for, never of what was drawn before.

A resumed run, a run with other workers and a run with other processes therefore draw the same numbers.
"""

import numpy as np
import torch


def derive_seed(*counters: int) -> int:
    """A 63-bit seed from non-negative integers such as (seed, stage, iteration); other integers, another seed."""
    # The length comes first because SeedSequence pads with zeros: (1, 2) and (1, 2, 0) would be the same.
    return int(np.random.SeedSequence((len(counters), *counters)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def device_generator(device: torch.device | str, *counters: int) -> torch.Generator:
    """A `torch.Generator` on `device`, seeded by `derive_seed(*counters)`."""
    return torch.Generator(device=device).manual_seed(derive_seed(*counters))
