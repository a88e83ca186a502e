"""Parameter importance: what pre-training learned is kept where it matters (method.md 3.1)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from dtir.core.errors import ConfigError
from dtir.core.seeding import derive_seed
from dtir.datasets import SampleKey
from dtir.diffusion.objectives import generative_pair
from dtir.registry import REGULARIZERS
from dtir.regularizers.base import Regularizer
from dtir.regularizers.depth import parameter_depths

# Iterations for which the logged value stands, so that it costs next to nothing.
LOG_INTERVAL = 10
ORDERS, TARGETS = ("second", "fisher"), ("loss", "output")


@REGULARIZERS.register_module()
class ParameterImportance(Regularizer):
    """Holds parameters near those of the stage's start, each by its importance (Lu et al., Eq. 3-5, 14-16, 23-27).

    With d the change since then, N parameters, and per-sample gradients g_k on M samples of the earlier task,

        L_imp = 1/N sum_i w_l(i) (|g_i d_i| + h_i d_i^2 / 2),  g = mean_k g_k,  h = mean_k g_k^2.

    Its gradient is added analytically, `torch._foreach` over all parameters. g, h and the anchor are kept in the
    checkpoint under `importance`, by parameter name, as float32 tensors of the CPU.

    Args:
        weight: lambda_1.
        before: Stage before which the importances are estimated first.
        order: "second" for both terms, "fisher" for the second alone (elastic weight consolidation).
        target: "loss" for the gradient of the generative loss at a random step, "output" for that of the squared norm
            of what the network makes of degraded pictures (memory-aware synapses).
        num_samples: M.
        chunk: Samples whose gradients are held at once.
        decay: Of the balance w_l = exp(-decay l) over the blocks, 0 for none.
        reestimate: Whether every later stage estimates anew, with its own start as the anchor.

    Raises:
        ConfigError: An option is not one of those named or outside its range.
    """

    key = "importance"

    def __init__(
        self,
        weight: float = 1.0,
        before: str = "finetune",
        order: str = "second",
        target: str = "loss",
        num_samples: int = 64,
        chunk: int = 4,
        decay: float = 0.05,
        reestimate: bool = True,
    ) -> None:
        for name, value, known in (("order", order, ORDERS), ("target", target, TARGETS)):
            if value not in known:
                raise ConfigError(f"ParameterImportance: {name}='{value}'; expected one of {', '.join(known)}.")
        if num_samples < 1 or chunk < 1 or weight < 0 or decay < 0:
            raise ConfigError(
                f"ParameterImportance: num_samples={num_samples} and chunk={chunk} must be at least 1, "
                f"weight={weight} and decay={decay} not negative."
            )
        self.weight, self.before, self.order, self.target = weight, before, order, target
        self.num_samples, self.chunk, self.decay, self.reestimate = num_samples, chunk, decay, reestimate
        self.state: dict[str, dict[str, Tensor]] = {}
        self.active: list[tuple[Tensor, ...]] = []
        self.value = torch.zeros(())

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Estimates, if it is time to, and lays the stage's tensors out on the device."""
        wanted = stage.settings.name == self.before if not self.state else self.reestimate
        if fresh and wanted:
            mean, square = self.estimate(runner, stage.index)
            anchor = {name: p.detach().cpu().float().clone() for name, p in self.network_of(runner).named_parameters()}
            self.state = {"mean": mean, "square": square, "anchor": anchor}
        self._lay_out(runner)

    def estimate(self, runner, seed_stage: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Mean and mean square of the per-sample gradients, over all processes, by parameter name."""
        model = runner.model
        network = self.network_of(runner)
        params = {name: p.detach() for name, p in network.named_parameters()}
        sums = {name: torch.zeros_like(p) for name, p in params.items()}
        squares = {name: torch.zeros_like(p) for name, p in params.items()}
        training = network.training
        network.eval()
        mine = range(get_rank(), self.num_samples, get_world_size())
        chunks = (mine[i : i + self.chunk] for i in range(0, len(mine), self.chunk))
        for batch in self.batches(runner, seed_stage, chunks):
            gradients = per_sample_gradients(network, params, self._objective(model), batch)
            for name, g in gradients.items():
                sums[name] += g.sum(0)
                squares[name] += g.square().sum(0)
        network.train(training)
        for tensor in (*sums.values(), *squares.values()):
            if get_world_size() > 1:
                dist.all_reduce(tensor)
            tensor.div_(self.num_samples)
        return tuple({name: value.cpu().float() for name, value in part.items()} for part in (sums, squares))

    def _objective(self, model):
        """A scalar for one sample: (network output (3, H, W), what it is compared with) to the target."""
        if self.target == "output":
            return lambda out, batch: out.square().sum() / 2
        loss = model.generative_loss
        # The residual of a noised picture is to be the noise.
        return lambda out, batch: loss((batch["x"] - out)[None], batch["noise"][None]).sum()

    def batches(self, runner, seed_stage: int, chunks: Iterable[Sequence[int]]) -> Iterator[dict[str, Tensor]]:
        """The samples of each chunk: input `x`, steps `t` and, for the generative loss, the `noise` to find."""
        model, dataset = runner.model, runner.train_dataloader.dataset
        device = next(model.parameters()).device
        # Draws from the end of the range that training counts up from 0.
        first = 2**31 - 1 - self.num_samples
        for part in chunks:
            items, generators = [], []
            for k in part:
                task = k % len(dataset.tasks)
                key = SampleKey(seed_stage, first + k, task, k % dataset.sizes[task], self.target == "loss")
                items.append(dataset[key])
                generators.append(torch.Generator().manual_seed(derive_seed(runner.seed, seed_stage, k)))
            gt = torch.stack([item["data_samples"]["gt"] for item in items]).to(device).float() / 255
            lq = torch.stack([item["inputs"] for item in items]).to(device).float() / 255
            tasks = torch.tensor([item["data_samples"]["task"] for item in items], device=device)
            if self.target == "output":
                yield {"x": lq, "t": model.timestep_of(tasks)}
                continue
            T = model.num_timesteps
            t = torch.stack([torch.randint(1, T + 1, (), generator=g) for g in generators]).to(device)
            eps = torch.stack([torch.randn(gt.shape[1:], generator=g) for g in generators]).to(device)
            noise = model.generative_target(eps, t)
            yield {"x": generative_pair(gt, eps, t, model.scheduler), "t": t, "noise": noise}

    def _lay_out(self, runner) -> None:
        """The stage's parameters with what their gradient needs, on their device."""
        self.active = []
        if not self.state:
            return
        network = self.network_of(runner)
        balances = self.balances(network)
        for name, p in network.named_parameters():
            if not p.requires_grad:
                continue
            mean, square = (self.state[key][name].abs() * balances[name] for key in ("mean", "square"))
            if self.order == "fisher":
                mean.zero_()
            anchor = self.state["anchor"][name]
            self.active.append((p, *(x.to(p.device, p.dtype) for x in (anchor, mean, square))))

    def balances(self, network: nn.Module) -> dict[str, Tensor]:
        """What the importances of each parameter are multiplied with: `weight w_l / N`."""
        count = sum(p.numel() for p in network.parameters())
        depths = parameter_depths(network)
        return {name: torch.exp(-self.decay * depth) * (self.weight / count) for name, depth in depths.items()}

    @torch.no_grad()
    def before_optim_step(self, runner) -> None:
        """Adds the gradient of L_imp to `p.grad`; `importance`, logged, is L_imp times its weight, now and then."""
        # Parameters that no output depends on have no gradient, and no importance.
        rows = [row for row in self.active if row[0].grad is not None]
        if not rows:
            return
        params, anchors, means, squares = (list(part) for part in zip(*rows, strict=True))
        change = torch._foreach_sub(params, anchors)
        pull = torch._foreach_mul(squares, change)
        loop = runner.train_loop
        if self.value_due(runner):
            first = torch._foreach_mul(torch._foreach_abs(change), means)
            second = torch._foreach_mul(pull, change)
            self.value = torch.stack([x.sum() + y.sum() / 2 for x, y in zip(first, second, strict=True)]).sum()
        loop.logged["importance"] = self.value
        torch._foreach_addcmul_(pull, torch._foreach_sign(change), means)
        torch._foreach_add_([p.grad for p in params], pull)

    def value_due(self, runner) -> bool:
        """Whether the logged value is computed anew in this step."""
        return runner.train_loop.local_iter % LOG_INTERVAL == 0

    def state_dict(self) -> dict:
        """`mean`, `square` and `anchor`, each by parameter name; empty before the first estimate."""
        return self.state

    def load_state_dict(self, state: Mapping) -> None:
        """Takes back what `state_dict` gave."""
        self.state = dict(state)


def per_sample_gradients(
    network: nn.Module, params: Mapping[str, Tensor], objective, batch: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The gradient of every sample's own objective, vectorised.

    Args:
        network: A conditioned network, called as `network(x, t)`.
        params: Its parameters by name.
        objective: `(output (3, H, W), the sample) -> scalar`.
        batch: `x` (B, 3, H, W), `t` (B,), and what the objective needs, one row per sample.

    Returns:
        By parameter name (B, *shape).
    """

    def one(values: Mapping[str, Tensor], sample: Mapping[str, Tensor]) -> Tensor:
        out = functional_call(network, dict(values), (sample["x"][None], sample["t"][None]))
        return objective(out[0], sample)

    return vmap(grad(one), in_dims=(None, 0))(dict(params), dict(batch))
