"""Too little memory, as Python and torch say it."""

import torch


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that memory, of the machine or of a GPU, did not suffice."""
    # torch has an exception class for the memory of GPUs only.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
