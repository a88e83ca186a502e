"""`dtir adapt`: teaches a trained network a new kind of damage from a few pairs."""

import argparse
import sys
from pathlib import Path

from dtir.cli.importing import add_import_argument
from dtir.core.errors import ConfigError

HELP = "learn a new kind of damage from a few pairs"
DESCRIPTION = (
    "Teaches a trained network a new kind of damage from a folder of pairs (LQ/ and GT/, pictures of equal names). "
    "With --method adapters, the default, the new task gets parts of its own and every old task stays bit for bit what "
    "it was. One pair in five is held out to judge by, and training ends where these stop gaining. Writes the new "
    "model and a report page."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir adapt`."""
    parser.add_argument(
        "model",
        metavar="CKPT",
        help="a model that dtir models lists, a model file or a checkpoint, of a network with time conditioning",
    )
    parser.add_argument(
        "--pairs", required=True, metavar="FOLDER", help="folder with LQ/ and GT/, three pairs at least"
    )
    parser.add_argument("--name", required=True, help="name of the new task, for --task, whose auto never chooses it")
    parser.add_argument("--out", required=True, metavar="NEW_CKPT", help="new checkpoint, or model (.safetensors)")
    parser.add_argument(
        "--method",
        choices=("adapters", "full"),
        default="adapters",
        help="parts of the new task's own, or the whole network as well, within what old tasks may lose",
    )
    parser.add_argument("--iters", type=int, default=1000, metavar="N", help="most iterations (default: 1000)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="crops per iteration (default: 8)")
    parser.add_argument("--patch", type=int, default=96, metavar="N", help="side of the crops (default: 96)")
    parser.add_argument("--rank", type=int, default=8, metavar="N", help="channels inside each adapter (default: 8)")
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate (default: 2e-3; full: 2e-4)")
    parser.add_argument(
        "--importance", type=float, default=10.0, metavar="X", help="full: weight of what holds it (default: 10)"
    )
    parser.add_argument(
        "--replay", metavar="DIR", help="full: pairs of old tasks, DIR/TASK/LQ and GT (default: made from the new ones)"
    )
    parser.add_argument(
        "--replay-share", type=float, default=0.05, metavar="X", help="full: of the training samples (default: 0.05)"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.1, metavar="DB", help="full: what an old task may lose (default: 0.1 dB)"
    )
    parser.add_argument("--interval", type=int, default=50, metavar="N", help="iterations between scores (default: 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of crops and split (default: 0)")
    parser.add_argument("--report", metavar="DIR", help="folder of the report page (default: NEW_CKPT without suffix)")
    parser.add_argument("--overwrite", action="store_true", help="replace NEW_CKPT if it exists")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")
    add_import_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs `dtir adapt`; returns 0.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    from dtir.apis.adaptation.files import check_output, save_adapted, write_adaptation_report
    from dtir.apis.adaptation.settings import AdaptationSettings
    from dtir.apis.adaptation.teaching import adapt
    from dtir.core.denormals import flush_denormals

    flush_denormals()
    out = Path(args.out)
    if out.exists() and not args.overwrite:
        raise ConfigError(f"'{out}' exists; name another file, or replace it with --overwrite.")
    if not (args.report or out.suffix):
        raise ConfigError(f"'{out}' is also where the report would go; end its name in .pth, or name --report DIR.")
    check_output(args.model, out)
    settings = AdaptationSettings(
        method=args.method,
        iters=args.iters,
        lr=args.lr,
        batch_size=args.batch_size,
        patch=args.patch,
        rank=args.rank,
        importance=args.importance,
        replay=args.replay,
        replay_share=args.replay_share,
        tolerance=args.tolerance,
        interval=args.interval,
        seed=args.seed,
    )
    result = adapt(args.model, args.pairs, args.name, settings, args.device, on_look=_print_look)
    save_adapted(result, out)
    page = write_adaptation_report(result, args.report or out.with_suffix(""))
    before, after = (sum(values) / len(values) for values in (result.before, result.after))
    drift = max(result.drift.values())
    kept = "bit for bit as before" if drift == 0 else f"moved by up to {drift:.2f} levels of 255 (root mean square)"
    if drift and result.lost:
        kept += f", a loss of up to {max(result.lost.values()):.2f} dB on the pairs that stand for them"
    held_out = f"{before:.2f} -> {after:.2f} dB on {len(result.after)} held-out pairs"
    print(f"task '{result.name}' at time step {result.step}: {held_out}")
    print(f"old tasks: {kept}")
    print(f"{out}\nreport: {page}")
    return 0


def _print_look(done: int, most: int, psnr: float, loss: float) -> None:
    print(f"{done} of at most {most} iterations: {psnr:.2f} dB, loss {loss:.4f}", file=sys.stderr, flush=True)
