"""What the network of a trained process knows of the clean picture, at places of the way from GT to LQ.

It is given exact states of the test pictures, which no sampler has led astray, so that what is lost is the network's.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.lab import markdown
from dtir.core.atomic import atomic_write
from dtir.evaluation.metrics.functional import psnr, to_8_bit
from dtir.models.restorers import BridgeRestorer, Restorer

FILE = "estimates.json"
# Of the last step that is trained.
PLACES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)


def known_at(model: Restorer, lq: Tensor, gt: Tensor) -> list[dict] | None:
    """At each of `PLACES` the step, the PSNR of the clean picture that the network's output stands for there, and the
    share of the GT in the state beside its noise, None where the state has none.

    Args:
        model: A trained restorer; there is nothing to say, and None is returned, but of a `BridgeRestorer` whose
            process ends at the degraded picture.
        lq: (B, 3, H, W) in [0, 1].
        gt: As `lq`.
    """
    if not isinstance(model, BridgeRestorer) or model.source != "degraded":
        return None
    process, generator = model.scheduler, torch.Generator().manual_seed(0)
    (x0, _), (mu, kept) = model.codec.encode(gt.float()), model.codec.encode(lq)
    rows = []
    for place in PLACES:
        t = max(1, round(place * process.last_trained))
        share, _, sigma = process.marginal(t)
        x_t = process.add_noise(x0, mu, torch.randn(x0.shape, generator=generator), t)
        state, told = process.network_input(x_t, t)
        with torch.inference_mode():
            out = model.evaluate(state, model.given(mu, lq), torch.full((len(x_t),), told * model.time_scale))
            known = model.codec.decode(process.x0_from_output(x_t, out, mu, t), kept, lq)
        value = psnr(to_8_bit(known.clamp(0, 1)), gt).mean().item()
        rows.append({"t": t, "PSNR": value, "share": share.item() / sigma.item() if sigma.item() else None})
    return rows


def write_estimates(models: dict[str, Restorer], lq: Tensor, gt: Tensor, out: Path) -> None:
    """Measures the networks of processes by their names, and writes what comes of it into the folder of results."""
    found = {name: rows for name, model in models.items() if (rows := known_at(model, lq, gt))}
    with atomic_write(out / FILE, "w", encoding="utf-8") as file:
        json.dump({"side": lq.shape[-1], "processes": found}, file, indent=1)


def print_estimates(out: Path) -> None:
    """What `write_estimates` wrote, in Markdown, where it has been written."""
    if not (out / FILE).is_file():
        return
    found = json.loads((out / FILE).read_text(encoding="utf-8"))
    print(f"\nPSNR of the clean picture that the network sees in an exact state, pictures of {found['side']} x")
    print(f"{found['side']}; in parentheses the GT's share of it beside its noise:\n")
    lines = [[name, *(_cell(row) for row in rows)] for name, rows in found["processes"].items()]
    print(markdown(["process", *(f"{place:g} T" for place in PLACES)], lines))


def _cell(row: dict) -> str:
    return f"{row['PSNR']:.2f}" + ("" if row["share"] is None else f" ({row['share']:.3g})")
