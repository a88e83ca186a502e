"""The picture at the top of README.md: photographs of the package, damaged, restored and as they were.

python tools/misc/readme_picture.py docs/images/restored.jpg
"""

import argparse
import sys

import dtir
from dtir.cli import exit_code
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.imaging.files import read_rgb
from tools.misc.quickstart_pictures import DAMAGED, PHOTOS

SHOWN = ("dark.jpg", "noisy.jpg", "rainy.jpg")
WIDTH = 400


def main() -> None:
    """Restores with the model of the package, which finds the damage itself."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", help="the picture to write, .jpg or .png")
    args = parser.parse_args()
    rows = []
    for number, name in enumerate(SHOWN):
        damaged = read_rgb(PHOTOS.parent / "damaged" / name)
        restored = dtir.restore(damaged)
        labels = ["damaged", "restored", "original"] if number == 0 else ["", "", ""]
        rows.append(PanelRow([damaged, restored, read_rgb(PHOTOS / DAMAGED[name][0])], labels))
    save_panel(args.out, rows, WIDTH)


if __name__ == "__main__":
    sys.exit(exit_code(main))
