"""What a backbone's blocks take and give, seen in a forward pass of a small picture."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dtir.config.blame import line_of
from dtir.config.values import shown
from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers import Scheduler
from dtir.diffusion.schedulers.bridge import Bridge

from .backbones.parts.pictures import restored_picture
from .backbones.traits import traits_of

# The side of the picture on which the blocks are tried; larger than any padding by reflection asks for.
PROBE_SIDE = 16
# Odd, and of different sides: what only fits multiples, or squares, shows.
TRIAL_SIZE = (17, 13)
# Fits whatever multiple a network may ask for: what fails here does not fail because of the size.
FITTING_SIZE = (64, 64)
BLOCKS_EXPECTED = (
    "a method that returns the names of its blocks, shallow to deep, such as ['encoder.0', 'encoder.1', 'decoder.0']"
)


def named_blocks(backbone: nn.Module) -> dict[str, nn.Module]:
    """The blocks that a backbone declares by `ordered_blocks()`, by name, shallow to deep.

    Raises:
        ConfigError: It declares none, or one that does not exist, or one twice.
    """
    kind = type(backbone).__name__
    _require_module(backbone)
    declared = getattr(backbone, "ordered_blocks", None)
    if declared is None:
        raise ConfigError(f"backbone {kind} has no ordered_blocks(); add {BLOCKS_EXPECTED}.")
    if not callable(declared):
        raise ConfigError(f"backbone {kind}: ordered_blocks is {shown(declared)}; expected {BLOCKS_EXPECTED}.")
    names = declared()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"backbone {kind}: ordered_blocks() gave {shown(names)}; expected a list of the names (texts) of its "
            "blocks, shallow to deep."
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
    """Runs a backbone of somebody else's once on small pictures of odd size, one alone and two together; dtir's own are
    held to it by its tests.

    It leaves no trace: no gradients, and every module in the mode it was in.

    Raises:
        ConfigError: As `check_picture`; or it is no module, or its parameters are not of the kind that is trained.
    """
    if not is_own(backbone):
        return
    _require_module(backbone)
    kind, expected = type(backbone).__name__, torch.get_default_dtype()
    other = next((p.dtype for p in backbone.parameters() if p.is_floating_point() and p.dtype != expected), None)
    if other is not None:
        raise ConfigError(
            f"backbone {kind} has parameters of {other}; expected {expected}: pictures are, and lower precision is for "
            "optim_wrapper.amp, or --precision, to choose."
        )
    for count in (1, 2):
        check_picture(backbone, count=count)


def is_own(part: object) -> bool:
    """Whether a part is of a class of somebody else's."""
    return type(part).__module__.partition(".")[0] != "dtir"


def _require_module(backbone: object) -> None:
    if not isinstance(backbone, nn.Module):
        raise ConfigError(f"backbone {type(backbone).__name__} is no torch.nn.Module; derive its class from that.")


def try_scheduler(scheduler: nn.Module) -> None:
    """Asks a forward process for its first and last step, together and one by one.

    Raises:
        ConfigError: It is none, or its `marginal` does not give a mean coefficient and a standard deviation, each
            (B, 1, 1, 1), finite and of the usual type.
    """
    kind = type(scheduler).__name__
    if not isinstance(scheduler, (Scheduler, Bridge)):
        raise ConfigError(f"scheduler {kind} is no dtir.diffusion.schedulers.Scheduler; derive its class from that.")
    last = getattr(scheduler, "num_timesteps", None)
    if not isinstance(last, int) or last < 1:
        raise ConfigError(
            f"scheduler {kind}: num_timesteps is {last!r}; expected an integer of at least 1: begin its __init__ with "
            "super().__init__(num_timesteps)."
        )
    if isinstance(scheduler, Scheduler):
        a, sigma = _check_marginal(kind, scheduler, torch.tensor([0, last]))
        _check_marginal(kind, scheduler, last)
        # Crosswise, as there need be nothing left of the picture at the last step.
        if not _all(sigma[1] * a[0] > sigma[0] * a[1]):
            raise ConfigError(
                f"scheduler {kind}: step 0 has as much noise as step {last}; expected the clean picture at step 0, and "
                "more noise with every step."
            )


def _check_marginal(kind: str, scheduler: Scheduler, t: int | Tensor) -> tuple[Tensor, Tensor]:
    asked, count = ("1 step", 1) if isinstance(t, int) else (f"{len(t)} steps", len(t))
    try:
        given = scheduler.marginal(t)
    except Exception as error:
        raise ConfigError(
            f"scheduler {kind}: marginal({t}) fails: {type(error).__name__}: {error} ({line_of(error)}). Steps are "
            "0..num_timesteps, an int or a tensor (B,)."
        ) from error
    values = given if isinstance(given, (tuple, list)) else [given]
    shapes = [tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__ for value in values]
    if shapes != [(count, 1, 1, 1)] * 2:
        raise ConfigError(
            f"scheduler {kind}: marginal of {asked} gives {', '.join(map(str, shapes))}; expected a_t and sigma_t, "
            f"each ({count}, 1, 1, 1): end with .view(-1, 1, 1, 1)."
        )
    expected = torch.get_default_dtype()
    if any(value.dtype != expected or not _all(value.isfinite()) for value in values):
        shown_values = ", ".join(f"{value.flatten().tolist()} of {value.dtype}" for value in values)
        raise ConfigError(
            f"scheduler {kind}: marginal of {asked} gives {shown_values}; expected finite numbers of {expected}."
        )
    return values[0], values[1]


def check_picture(backbone: nn.Module, size: tuple[int, int] = TRIAL_SIZE, count: int = 1) -> None:
    """Checks what a backbone makes of grey pictures of a size.

    Raises:
        ConfigError: It fails, changes the pictures that it is given, or gives something else than finite pictures of
            their type and of the size that its traits say, or pictures that none of its parameters has a gradient of.
    """
    kind, scale, (height, width) = type(backbone).__name__, traits_of(backbone).scale, size
    with in_eval_mode(backbone), torch.enable_grad():
        pictures = _grey(backbone, count, size)
        out = _output(backbone, pictures)
    expected = (count, 3, scale * height, scale * width)
    if out.shape != expected:
        raise ConfigError(
            f"backbone {kind} makes a tensor {tuple(out.shape)} of pictures ({count}, 3, {height}, {width}); expected "
            f"{expected}: as many, of three channels, and of the size that goes in times `scale`."
        )
    if out.dtype != pictures.dtype:
        raise ConfigError(
            f"backbone {kind} makes {out.dtype} of pictures of {pictures.dtype}; expected the same type: end its "
            "forward with .to(x.dtype)."
        )
    if not _all(out.isfinite()):
        raise ConfigError(
            f"backbone {kind} makes infinite or undefined values of grey pictures; does it divide by a deviation that "
            "is 0, take a root or logarithm, or hold weights that nothing initialised?"
        )
    if not _all(pictures == _grey(backbone, count, size)):
        raise ConfigError(
            f"backbone {kind} changes the pictures that it is given, which the loss is still to see; let its forward "
            "work on a copy, without operations in place such as x.mul_() or x += ... on its argument."
        )
    check_gradient(backbone, out, backbone.parameters())


def _all(values: Tensor) -> bool:
    # On the meta device there are no values.
    return values.is_meta or bool(values.all())


def _grey(backbone: nn.Module, count: int, size: tuple[int, int]) -> Tensor:
    like = next(backbone.parameters(), torch.empty(0))
    return torch.full((count, 3, *size), 0.5, device=like.device, dtype=like.dtype)


def _output(backbone: nn.Module, pictures: Tensor) -> Tensor:
    kind, (height, width) = type(backbone).__name__, pictures.shape[-2:]
    _check_call(backbone, pictures)
    try:
        return restored_picture(backbone, pictures)
    except ConfigError as error:
        raise ConfigError(f"backbone {kind}: {error}") from error
    except Exception as error:
        advice = ""
        if _runs(backbone, _grey(backbone, len(pictures), FITTING_SIZE)):
            advice = (
                " It has to take every height and width: let it pad inside, or declare traits = Traits(pads=False, "
                "size_multiple=...)."
            )
        raise ConfigError(
            f"backbone {kind} fails on a picture of {height} x {width} pixels: {type(error).__name__}: {error} "
            f"({line_of(error)}).{advice}"
        ) from error


def _runs(backbone: nn.Module, pictures: Tensor) -> bool:
    try:
        restored_picture(backbone, pictures)
    except Exception:
        # Of whatever kind: the first failure is the one that is said.
        return False
    return True


def _check_call(backbone: nn.Module, pictures: Tensor) -> None:
    try:
        signature = inspect.signature(backbone.forward)
    except ValueError:
        # What torch.jit.trace gives does not say what it takes; its call will.
        return
    try:
        signature.bind(pictures)
    except TypeError as error:
        raise ConfigError(
            f"backbone {type(backbone).__name__} takes {signature}; expected a forward that is called with the "
            "pictures alone: time steps come in from outside, at its ordered_blocks(). A network of (x_t, condition, "
            "level) is for ConditionalDiffusionRestorer and its like."
        ) from error


def check_gradient(backbone: nn.Module, out: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    """Raises ConfigError where what was computed with a backbone has no gradient of any of the parameters."""
    kind, trained = type(backbone).__name__, [p for p in parameters if p.requires_grad]
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
    with in_eval_mode(backbone):
        backbone(torch.zeros(1, 3, side, side, device=like.device, dtype=like.dtype))


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Has a network be in evaluation mode for the time of a `with` statement."""
    with in_mode(network, training=False):
        yield


@contextmanager
def in_mode(network: nn.Module, training: bool) -> Iterator[None]:
    """Has a network be in training or evaluation mode for the time of a `with` statement."""
    modes = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        yield
    finally:
        # Module by module: a network may keep some of its parts in eval mode.
        for module, mode in modes.items():
            module.training = mode


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
