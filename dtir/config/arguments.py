"""What a class takes: names of its arguments, what fits them, and which must be given."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import LogProcessor, Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from dtir.config.values import annotations_of, misfit
from dtir.core.ranges import BelowOne, NonNegative, NonNegativeInt, Positive, PositiveInt, Share

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

# Of classes of others, which do not state these.
RANGES_OF_OTHERS = {
    # None drops a hook.
    Runner: {
        "log_level": Literal["CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET"] | NonNegativeInt,
        "param_scheduler": Mapping | Sequence[Mapping] | None,
        "launcher": Literal["none", "pytorch", "slurm", "mpi"],
        "default_hooks": Mapping[str, Hook | Mapping | None] | None,
        "val_evaluator": Mapping | Sequence[Mapping] | None,
        "test_evaluator": Mapping | Sequence[Mapping] | None,
    },
    LogProcessor: {"by_epoch": bool, "window_size": PositiveInt, "num_digits": PositiveInt, "mean_pattern": str},
    BaseMetric: {"collect_device": Literal["cpu", "gpu"]},
    Visualizer: {"vis_backends": Sequence[Mapping] | None},
    DataLoader: {
        "batch_size": PositiveInt | None,
        "num_workers": NonNegativeInt,
        "prefetch_factor": PositiveInt | None,
    },
    Optimizer: {
        "lr": NonNegative,
        "betas": tuple[BelowOne, BelowOne],
        "eps": NonNegative,
        "weight_decay": NonNegative,
        "momentum": NonNegative,
        # Steps that are replayed on a GPU, or differentiated: no training here takes such.
        "capturable": Literal[False],
        "differentiable": Literal[False],
    },
}
# What published networks and processes call alike, where they annotate it with the bare type.
POSITIVE_INTS = (
    "width dim dims nf ch n_feat n_feats features embed_dim embed_dims model_channels context_dim init_dim channels "
    "img_channel in_nc out_nc in_ch out_ch in_c out_c in_channels out_channels inp_channels in_chans out_chans "
    "window_size patch_size kernel_size stride heads num_heads channel_heads spatial_heads spatial_dim_head ch_mult "
    "channel_mult dim_mults num_experts top_k rank recurrent_iter img_size image_size train_size num_timesteps "
    "train_timesteps timesteps T N steps num_steps sample_T timestep_respacing tile size num_samples chunk interval "
    "factor height side resamplings max_size upscale resnet_block_groups num_unet txtdim swin_depth swin_embed_dim "
    "lq_size transformer_depth n_embed semb_channels tokens n_groups n_blocks num_stages num_groups "
    "num_supervision_scales block_size_hr block_size_lr grid_size_hr num_bottleneck_blocks block_gmlp_factor "
    "grid_gmlp_factor input_proj_factor channels_reduction num_outputs n_RRG n_MSRB num_cab reduction depth_rate "
    "num_dense_layer growth_rate round batch_size world_size num_batches num_fuse_block ode_steps langevin_steps "
    "gradient_steps jump_length length quality num_res_blocks out_dim intervals"
)
COUNTS = (
    "enc_blk_nums dec_blk_nums middle_blk_num num_blocks num_refinement_blocks depths depth tile_overlap margin seed "
    "corrections mask_nc high_res_stages scale_unetfeats scale_orsnetfeats"
)
POSITIVES = (
    "eps sigma sigma_min sigma_max beta_start beta_end beta_max max_sigma lambda_square time_scale "
    "rho beta_d sigma_data mlp_ratio mlp_ratios ffn_expansion_factor kappa etas_end std gamma lr "
    "scale_factor T_ref"
)
NOT_NEGATIVE = (
    "weight strength cache_mb noise router_noise sigma_y guidance_scale guidance eta eta_b churn churn_noise spread "
    "damping zeta decay a beta_min delta_end sum_scale overlap_ratio attn_ratio"
)
SHARES = (
    "shallow condition_dropout dropout drop_path_rate dropout_rate probability "
    "label_smoothing share missing min_noise_level fusion_w churn_step_ratio"
)
RANGES_BY_NAME = {
    (base, name): ranged
    for names, pairs in (
        (POSITIVE_INTS, {int: PositiveInt, int | None: PositiveInt | None, Sequence[int]: Sequence[PositiveInt]}),
        (COUNTS, {int: NonNegativeInt, int | None: NonNegativeInt | None, Sequence[int]: Sequence[NonNegativeInt]}),
        (POSITIVES, {float: Positive, float | None: Positive | None, Sequence[float]: Sequence[Positive]}),
        (NOT_NEGATIVE, {float: NonNegative, float | None: NonNegative | None, Sequence[float]: Sequence[NonNegative]}),
        (SHARES, {float: Share}),
    )
    for name in names.split()
    for base, ranged in pairs.items()
}


@dataclass(frozen=True)
class Argument:
    """An argument of a class or function.

    Attributes:
        kind: Its annotation; `inspect.Parameter.empty` where it has none.
        required: Whether it has no default.
        default: Its default; `inspect.Parameter.empty` where it has none.
    """

    kind: object
    required: bool
    default: object = inspect.Parameter.empty


@dataclass(frozen=True)
class Arguments:
    """The arguments of a class or function.

    Attributes:
        named: By name.
        any_keyword: Whether it takes keywords of any other name too.
    """

    named: dict[str, Argument]
    any_keyword: bool


def arguments_of(target: Callable) -> Arguments:
    """Returns what a class or function takes by keyword.

    `**kwargs` of an `__init__` stands for the arguments of the next `__init__` among the base classes.
    """
    if not inspect.isclass(target):
        return Arguments(_declared(target), _takes_any(target))
    named: dict[str, Argument] = {}
    any_keyword = False
    for cls in target.__mro__:
        if cls in (object, nn.Module):
            break
        if "__init__" not in vars(cls):
            continue
        # A class that hands on keywords may give some of them itself.
        inherited = any_keyword
        own = _declared(cls.__init__)
        named = {**{key: Argument(a.kind, a.required and not inherited, a.default) for key, a in own.items()}, **named}
        any_keyword = _takes_any(cls.__init__)
        if not any_keyword:
            break
    named.pop("self", None)
    return Arguments({name: _ranged(target, name, argument) for name, argument in named.items()}, any_keyword)


def _ranged(target: type, name: str, argument: Argument) -> Argument:
    for family, ranges in RANGES_OF_OTHERS.items():
        if issubclass(target, family) and name in ranges:
            return Argument(ranges[name], argument.required)
    if not target.__module__.startswith("dtir."):
        return argument
    kind = RANGES_BY_NAME.get((argument.kind, name), argument.kind)
    if isinstance(argument.default, int | float) and misfit(argument.default, kind, name):
        # What a publication has outside of the range says something else, such as -1 for "as the other argument says".
        kind |= Literal[argument.default]
    return Argument(kind, argument.required)


def _declared(function: Callable) -> dict[str, Argument]:
    kinds = annotations_of(function)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind in NAMED]
    return {
        p.name: Argument(_with_none(kinds.get(p.name, p.empty), p), p.default is p.empty, p.default) for p in parameters
    }


def _with_none(kind: object, parameter: inspect.Parameter) -> object:
    # `x: int = None` says too little.
    return kind | None if parameter.default is None and _joins(kind) else kind


def _joins(kind: object) -> bool:
    return kind is not inspect.Parameter.empty and (isinstance(kind, type) or bool(get_args(kind)))


def _takes_any(function: Callable) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
