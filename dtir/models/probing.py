"""What a backbone's blocks take and give, seen in a forward pass of a small picture."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers import Scheduler

from .backbones.parts.pictures import restored_picture
from .backbones.traits import traits_of

# The side of the picture on which the blocks are tried; larger than any padding by reflection asks for.
PROBE_SIDE = 16
# Odd, and of different sides: what only fits multiples, or squares, shows.
TRIAL_SIZE = (17, 13)


def named_blocks(backbone: nn.Module) -> dict[str, nn.Module]:
    """The blocks that a backbone declares by `ordered_blocks()`, by name, shallow to deep.

    Raises:
        ConfigError: It declares none, or one that does not exist, or one twice.
    """
    kind = type(backbone).__name__
    if not hasattr(backbone, "ordered_blocks"):
        raise ConfigError(
            f"backbone {kind} has no ordered_blocks(); add a method that returns the names of its blocks, shallow to "
            "deep, such as ['encoder.0', 'encoder.1', 'decoder.0']."
        )
    names = backbone.ordered_blocks()
    if not isinstance(names, (list, tuple)):
        raise ConfigError(
            f"backbone {kind}: ordered_blocks() gave {names!r}; expected a list of the names of its blocks, shallow to "
            "deep."
        )
    modules = dict(backbone.named_modules(remove_duplicate=False))
    missing = [name for name in names if name not in modules]
    if missing or not names or len({id(modules[name]) for name in names}) != len(names):
        raise ConfigError(
            f"backbone {kind}: ordered_blocks() must name existing submodules, at least one, each once; "
            f"got {names[:8]}, missing {missing[:8]}."
        )
    return {name: modules[name] for name in names}


def try_backbone(backbone: nn.Module) -> None:
    """Runs a backbone of somebody else's once on a small picture of odd size; dtir's own are held to it by its tests.

    It leaves no trace: no gradients, and every module in the mode it was in.

    Raises:
        ConfigError: As `check_picture`.
    """
    if type(backbone).__module__.partition(".")[0] != "dtir":
        check_picture(backbone)


def try_scheduler(scheduler: nn.Module) -> None:
    """Asks a forward process once for its first and last step.

    Raises:
        ConfigError: Its `marginal` does not give a mean coefficient and a standard deviation, each (B, 1, 1, 1).
    """
    if not isinstance(scheduler, Scheduler):
        return
    t = torch.tensor([0, scheduler.num_timesteps])
    given = scheduler.marginal(t)
    shapes = [tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__ for value in given]
    if shapes != [(2, 1, 1, 1)] * 2:
        raise ConfigError(
            f"scheduler {type(scheduler).__name__}: marginal of 2 steps gives {', '.join(map(str, shapes))}; expected "
            "a_t and sigma_t, each (2, 1, 1, 1): end with .view(-1, 1, 1, 1)."
        )


def check_picture(backbone: nn.Module, size: tuple[int, int] = TRIAL_SIZE) -> None:
    """Checks what a backbone makes of one grey picture of a size.

    Raises:
        ConfigError: It fails, gives something else than a picture of the size that its traits say, or a picture that
            none of its parameters has a gradient of.
    """
    kind, scale, (height, width) = type(backbone).__name__, traits_of(backbone).scale, size
    like = next(backbone.parameters(), torch.empty(0))
    with _in_eval_mode(backbone), torch.enable_grad():
        picture = torch.full((1, 3, height, width), 0.5, device=like.device, dtype=like.dtype)
        try:
            out = restored_picture(backbone, picture)
        except Exception as error:
            raise ConfigError(
                f"backbone {kind} fails on a picture of {height} x {width} pixels: {error} ({type(error).__name__}). "
                "It has to take every height and width: let it pad inside, or declare traits = Traits(pads=False, "
                "size_multiple=...)."
            ) from error
    if out.shape != (1, 3, scale * height, scale * width):
        raise ConfigError(
            f"backbone {kind} makes a tensor {tuple(out.shape)} of a picture (1, 3, {height}, {width}); expected "
            f"(1, 3, {scale * height}, {scale * width}): three channels, and the size that goes in times `scale`."
        )
    _check_gradient(kind, out, [p for p in backbone.parameters() if p.requires_grad])


def _check_gradient(kind: str, out: Tensor, trained: list[nn.Parameter]) -> None:
    reached = trained and out.requires_grad and torch.autograd.grad(out.sum(), trained, allow_unused=True)
    if trained and not (reached and any(grad is not None for grad in reached)):
        raise ConfigError(
            f"backbone {kind}: its output has no gradient of any of its parameters; does it detach, run under "
            "torch.no_grad(), or never use them?"
        )


def block_calls(backbone: nn.Module, blocks: Mapping[str, nn.Module]) -> dict[str, tuple[object, object]]:
    """First argument and output of each block, in one forward pass.

    Raises:
        ConfigError: A block is not called.
    """
    seen: dict[str, tuple[object, object]] = {}

    def see(name: str, module: nn.Module, args: tuple, output: object) -> None:
        seen.setdefault(name, (args[0] if args else None, output))

    with _watching(blocks.items(), see):
        probe(backbone)
    idle = [name for name in blocks if name not in seen]
    if idle:
        raise ConfigError(
            f"backbone {type(backbone).__name__}: each block of ordered_blocks() must be called in a forward pass; "
            f"not called: {', '.join(idle[:4])}."
        )
    return {name: seen[name] for name in blocks}


def pointwise_layers(backbone: nn.Module, blocks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The last 1x1 convolution or linear layer of each block that gives one output per pixel of the block's output.

    Raises:
        ConfigError: A block has none.
    """
    pixels = {name: _pixels(output) for name, (_, output) in block_calls(backbone, blocks).items()}
    last: dict[str, nn.Module] = {}

    def see(name: str, module: nn.Module, args: tuple, output: object) -> None:
        if _pixels(output) == pixels[name]:
            last[name] = module

    inside = ((name, layer) for name, block in blocks.items() for layer in block.modules() if is_pointwise(layer))
    with _watching(inside, see):
        probe(backbone)
    without = [name for name in blocks if name not in last]
    if without:
        raise ConfigError(
            f"backbone {type(backbone).__name__}: no 1x1 convolution or linear layer at every pixel in block(s) "
            f"{', '.join(without[:4])}; name other blocks in adapter_blocks, or take an adapter that comes after the "
            "blocks, such as MoEAdapter."
        )
    return {name: last[name] for name in blocks}


def pointwise_channels(layer: nn.Module) -> tuple[int, int]:
    """Channels into and out of a pointwise layer."""
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels, layer.out_channels
    return layer.in_features, layer.out_features


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a module is a linear layer, or a plain 1x1 convolution."""
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1 and layer.padding == (0, 0)
    return isinstance(layer, nn.Linear)


@torch.no_grad()
def probe(backbone: nn.Module) -> None:
    """One forward pass of a small black picture, which leaves no trace but what hooks see."""
    multiple = traits_of(backbone).size_multiple
    side = -(-PROBE_SIDE // multiple) * multiple
    like = next(backbone.parameters(), torch.empty(0))
    with _in_eval_mode(backbone):
        backbone(torch.zeros(1, 3, side, side, device=like.device, dtype=like.dtype))


@contextmanager
def _in_eval_mode(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        # Module by module: a network may keep some of its parts in eval mode.
        for module, training in modes.items():
            module.training = training


def channels_of(x: object, name: str) -> int:
    """Channels of a block's features.

    Raises:
        ConfigError: They are not features of one picture.
    """
    if not isinstance(x, Tensor) or x.ndim not in (3, 4) or len(x) != 1:
        found = f"a tensor {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ConfigError(
            f"block {name} must take as its first positional argument, and give where it has an adapter, features "
            f"(B, C, H, W) or tokens (B, N, C), B being that of the pictures; for one picture this was {found}."
        )
    return x.shape[1] if x.ndim == 4 else x.shape[-1]


def _pixels(x: object) -> int | None:
    """Pixels of features (1, C, H, W) or tokens (1, N, C); None for anything else."""
    if not isinstance(x, Tensor) or x.ndim not in (3, 4) or len(x) != 1:
        return None
    return x.shape[2] * x.shape[3] if x.ndim == 4 else x.shape[1]


@contextmanager
def _watching(modules: Iterable[tuple[str, nn.Module]], see: Callable) -> Iterator[None]:
    """Calls `see(name, module, args, output)` after each call of the modules, for the time of a `with` statement."""
    handles = [
        module.register_forward_hook(lambda module, args, output, name=name: see(name, module, args, output))
        for name, module in modules
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
