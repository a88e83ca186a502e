"""How many processes read data."""

from mmengine.logging import MMLogger

from dtir.core.cores import usable_cores

# Reading waits for disks, so that several processes on a core are of use; beyond these they only take memory.
WORKERS_PER_CORE = 4
# No bound for what configs usually have, which are written for larger machines.
ALWAYS_GRANTED = 16


def granted_workers(asked: int) -> int:
    """The processes that are started where a config asks for so many; fewer than asked are logged.

    Samples do not depend on their number, so that a config of a large machine trains the same on a small one.
    """
    most = max(ALWAYS_GRANTED, WORKERS_PER_CORE * usable_cores())
    if asked > most:
        MMLogger.get_current_instance().warning(
            f"num_workers={asked}: {most} are started, {WORKERS_PER_CORE} for each of the {usable_cores()} cores here, "
            f"at least {ALWAYS_GRANTED}; samples are the same."
        )
    return min(asked, most)
