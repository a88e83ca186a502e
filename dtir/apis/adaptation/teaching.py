"""Teaches a trained network a new kind of damage from a few pairs, by parts of its own or by all of it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.apis.adaptation.extending import best_start, extended, free_step
from dtir.apis.adaptation.importance import OutputImportance
from dtir.apis.adaptation.rehearsal import Limit, Rehearsal, old_pictures
from dtir.apis.adaptation.settings import AdaptationSettings
from dtir.apis.models.build import load_restorer
from dtir.apis.models.names import find_model
from dtir.apis.restoring.device import resolve_device
from dtir.core.errors import ConfigError, DatasetError, TaskError
from dtir.datasets import PairedDataset
from dtir.evaluation.metrics.functional import psnr, to_8_bit
from dtir.models import ConditionedNetwork, DiffusionRestorer, ExtendedNetwork
from dtir.tasks import SET_MARK

# Of the pairs, every fifth is held out.
HELD_OUT_EVERY = 5
LEAST_PAIRS = 3
# Crops that the time steps to start from are judged by.
JUDGED = 8
PATIENCE = 5
# How much faster the new task's own parts learn than a whole network that is held.
OWN_RATE = 10
# Steps between two times that the change of the whole network is limited: its own parts have to learn what is left.
LIMITED_EVERY = 20


@dataclass
class Adaptation:
    """A network that learned a task, and how.

    Attributes:
        restorer: The network; `model_cfg` is its config, `estimator` that of the old one.
        name: The new task.
        step: Its time step.
        start: The time step at which the network restored its pairs best before.
        trained, held_out: Names of the pairs.
        inputs, before, after: PSNR of the held-out pairs in dB: of the input, at `start` before, and by the result.
        pictures: The held-out pairs as uint8 (H, W, 3): input, restored, GT.
        history: (iterations, mean PSNR of the held-out pairs, loss) of every look.
        drift: By old task, how far the pictures that it makes of held-out inputs moved: root mean square, in levels of
            255.
        lost: By old task, dB of PSNR that it lost on the pairs that stand for it (`Rehearsal.losses`); empty where no
            old task can change.
    """

    restorer: DiffusionRestorer
    name: str
    step: int
    start: int
    trained: list[str]
    held_out: list[str]
    inputs: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    history: list[tuple[int, float, float]] = field(default_factory=list)
    pictures: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    drift: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)


OnLook = Callable[[int, int, float, float], None]


def adapt(
    model: str | Path,
    pairs: str | Path,
    name: str,
    settings: AdaptationSettings | None = None,
    device: str | None = None,
    on_look: OnLook | None = None,
) -> Adaptation:
    """Learns a new task from pairs.

    Args:
        model: What `find_model` takes: a model file or a checkpoint of the method.
        pairs: Folder with LQ/ and GT/, pictures of equal names and sizes.
        name: Name of the new task.
        settings: How.
        device: Where; by default CUDA if there is one.
        on_look: Called as `on_look(iterations done, most iterations, PSNR in dB, loss)` at every look at the
            held-out pairs.

    Returns:
        The network with the parts or weights that did best on the held-out pairs.

    Raises:
        CheckpointError: The model cannot be read.
        ConfigError: It has no time conditioning, or no free time step.
        DatasetError: The folder is missing, or has no pairs, or fewer than three; or the replay folder has none of
            an old task.
        TaskError: The name is taken or no name.
    """
    settings = settings or AdaptationSettings()
    folder = Path(pairs).resolve()
    _check_pairs(folder)
    place = resolve_device(device)
    old = load_restorer(find_model(model), place)
    _check(old, name)
    dataset = PairedDataset(name, folder, patch=settings.patch)
    train, held = split(len(dataset), settings.seed)
    data = _Pairs(dataset, train, settings, place)
    shown = [dataset[index] for index in held]
    start = best_start(old, data.judged())
    step = free_step(old, start)
    restorer = extended(old, name, step, start, settings.rank, settings.seed).to(place)
    names = [record["name"] for record in dataset.records]
    result = Adaptation(restorer, name, step, start, [names[k] for k in train], [names[k] for k in held])
    result.before = scores(restorer, shown, len(restorer.tasks) - 1)
    keeper = _keeper(old, data, settings) if settings.keeps else None
    _train(result, data, shown, settings, keeper, on_look)
    result.lost = keeper.losses(restorer) if keeper else {}
    _look_at(result, old, shown)
    return result


@torch.inference_mode()
def _look_at(result: Adaptation, old: DiffusionRestorer, shown: Sequence[dict]) -> None:
    task = len(result.restorer.tasks) - 1
    result.after = scores(result.restorer, shown, task)
    for item in shown:
        lq, gt = item["inputs"], item["data_samples"]["gt"]
        restored = (_restored(result.restorer, item, task).cpu() * 255).round().to(torch.uint8)
        result.inputs.append(psnr(lq[None] / 255, gt[None] / 255, eps=1e-10).item())
        result.pictures.append(tuple(picture.permute(1, 2, 0).numpy() for picture in (lq, restored, gt)))
    result.drift = _drift(old, result.restorer, shown)


def _check_pairs(folder: Path) -> None:
    for part in (folder, folder / "LQ", folder / "GT"):
        if not part.is_dir():
            raise DatasetError(
                f"no folder '{part}': give a folder of pairs, with the degraded pictures in LQ/ and the clean ones in "
                "GT/, of equal names and sizes."
            )


def _check(model: nn.Module, name: str) -> None:
    if not isinstance(model, DiffusionRestorer) or not isinstance(model.network, ConditionedNetwork):
        raise ConfigError(
            f"{type(model).__name__} cannot learn a task later: it takes a DiffusionRestorer with TimeConditioning."
        )
    if not name:
        raise TaskError("the new task's name is empty; give it one, by which --task will know it.")
    if SET_MARK in name:
        raise TaskError(f"the new task's name '{name}' has a {SET_MARK} in it, which sets tasks and test sets apart.")
    if name in model.tasks:
        raise TaskError(
            f"the network has a task '{name}' already, beside {', '.join(model.tasks)}; name the new one anew."
        )


def split(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the pairs to train on and of those held out, one in five and at least one.

    Raises:
        DatasetError: There are fewer than three pairs.
    """
    if count < LEAST_PAIRS:
        raise DatasetError(f"{count} pairs are too few: at least {LEAST_PAIRS} are needed, one of them to judge by.")
    order = np.random.default_rng((seed, count)).permutation(count).tolist()
    held = max(1, count // HELD_OUT_EVERY)
    return sorted(order[held:]), sorted(order[:held])


class _Pairs:
    """Random crops of the pairs to train on: which ones depends on seed and iteration alone."""

    def __init__(self, dataset: PairedDataset, chosen: Sequence[int], settings: AdaptationSettings, device) -> None:
        self.dataset, self.chosen, self.settings, self.device = dataset, chosen, settings, device

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """LQ and GT (B, 3, patch, patch) in [0, 1]."""
        rng = np.random.default_rng((self.settings.seed, 1, iteration))
        picked = rng.choice(self.chosen, self.settings.batch_size)
        return self._stack([self.dataset.training_item(int(index), rng) for index in picked])

    def judged(self) -> tuple[Tensor, Tensor]:
        """A few crops, always the same."""
        rng = np.random.default_rng((self.settings.seed, 2))
        return self._stack([self.dataset.training_item(index, rng) for index in self.chosen[:JUDGED]])

    def _stack(self, items: Sequence[dict]) -> tuple[Tensor, Tensor]:
        pictures = ([item["inputs"] for item in items], [item["data_samples"]["gt"] for item in items])
        lq, gt = (torch.stack(part).to(self.device).float() / 255 for part in pictures)
        return lq, gt


@torch.inference_mode()
def scores(model: DiffusionRestorer, items: Sequence[dict], task: int) -> list[float]:
    """PSNR in dB of pairs restored as a task: RGB, 8 bits."""
    values = []
    for item in items:
        restored, gt = _restored(model, item, task), item["data_samples"]["gt"][None] / 255
        values.append(psnr(to_8_bit(restored[None].cpu()), gt, eps=1e-10).item())
    return values


def _restored(model: DiffusionRestorer, item: dict, task: int) -> Tensor:
    (sample,) = model([item["inputs"]], [{"task": task}], mode="predict")
    return sample["pred"]


def _train(
    result: Adaptation,
    data: _Pairs,
    shown: Sequence[dict],
    settings: AdaptationSettings,
    keeper: Rehearsal | None,
    on_look: OnLook | None,
) -> None:
    """Trains in place, and goes back to the state of the best look."""
    model = result.restorer
    task = len(model.tasks) - 1
    groups = trainable(model, settings)
    shared = groups[-1]["params"]
    params = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, settings.iters, pct_start=0.1)
    held = limit = None
    if keeper:
        if settings.importance:
            held = OutputImportance(model.network, keeper.pictures(), keeper.steps_in_turn(), settings.importance)
        limit = Limit(shared, keeper, settings.tolerance)
    best, best_state, worse, loss = float(np.mean(result.before)), copy.deepcopy(model.state_dict()), 0, float("nan")
    result.history.append((0, best, loss))
    for iteration in range(1, settings.iters + 1):
        lq, gt = data.batch(iteration)
        batch = (lq, gt, torch.full((len(lq),), result.step, device=lq.device))
        loss = _step(model, keeper.mixed(*batch, iteration) if keeper else batch, optimizer, params, held)
        schedule.step()
        looks = iteration % settings.interval == 0 or iteration == settings.iters
        if limit and (looks or iteration % LIMITED_EVERY == 0):
            limit.hold(model)
        if not looks:
            continue
        score = float(np.mean(scores(model, shown, task)))
        result.history.append((iteration, score, loss))
        if on_look:
            on_look(iteration, settings.iters, score, loss)
        worse = 0 if score > best else worse + 1
        if score > best:
            best, best_state = score, copy.deepcopy(model.state_dict())
        if worse == PATIENCE:
            break
    model.load_state_dict(best_state)
    model.requires_grad_(False)


def trainable(model: DiffusionRestorer, settings: AdaptationSettings) -> list[dict]:
    """The parameters that the method trains, the new task's own and then the shared ones; all others are frozen."""
    network: ExtendedNetwork = model.network
    own = network.own_parameters(len(network.extensions) - 1)
    chosen = {id(p) for p in own}
    shared = [p for p in network.parameters() if id(p) not in chosen]
    whole = settings.method == "full"
    model.requires_grad_(False)
    for p in own + (shared if whole else []):
        p.requires_grad_(True)
    if not whole:
        return [{"params": own, "lr": settings.peak_lr}]
    return [
        {"params": own, "lr": settings.peak_lr * (OWN_RATE if settings.keeps else 1)},
        {"params": shared, "lr": settings.peak_lr},
    ]


def _keeper(old: DiffusionRestorer, data: _Pairs, settings: AdaptationSettings) -> Rehearsal:
    sources = old_pictures(old.tasks, data.dataset, data.chosen, settings.replay, settings.patch)
    return Rehearsal(old, sources, settings.replay_share, settings.seed, data.device)


def _step(
    model: DiffusionRestorer,
    batch: tuple[Tensor, Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    params: Sequence[nn.Parameter],
    held: OutputImportance | None,
) -> float:
    lq, gt, t = batch
    # L1 and not the loss that the network was trained with: that may be blind to mild damage (`PSNRLoss.eps`).
    loss = F.l1_loss(model.network(lq, t), gt)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if held is not None:
        held.add_gradient()
    nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    return loss.item()


@torch.inference_mode()
def _drift(old: DiffusionRestorer, new: DiffusionRestorer, shown: Sequence[dict]) -> dict[str, float]:
    """The root mean square difference between what both make of the pictures, in levels of 255, by old task."""
    drift = {}
    for task, name in enumerate(old.tasks):
        squares = [(_restored(new, item, task) - _restored(old, item, task)).square().mean() for item in shown[:2]]
        drift[name] = 255 * torch.stack(squares).mean().sqrt().item()
    return drift
