"""
Fill scratches that a mask shows
================================

With a mask nothing but the white places changes, whatever else is wrong with the picture.
"""

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import dtir

photos = Path(dtir.__file__).parent / "assets" / "photos"
photo = np.array(Image.open(photos / "coffee.png").convert("RGB"))[80:336, 150:406]

# %%
# A mask is a picture of the same size, white where pixels are missing. Here it is drawn; from a file it would be
# ``dtir.restore("portrait.png", mask="scratches.png")``.

mask = np.zeros(photo.shape[:2], np.uint8)
rng = np.random.default_rng(1)
for start, end in rng.integers(0, 256, (6, 2, 2)):
    cv2.line(mask, start.tolist(), end.tolist(), 255, thickness=8)
scratched = np.where(mask[..., None] > 0, 255, photo).astype(np.uint8)

filled = dtir.restore(scratched, mask=mask)
print("changed outside of the mask:", int((filled != scratched)[mask == 0].sum()), "values")

# %%
# What the strokes hid is filled by what is likeliest on average, so it is smooth. The model of the package was trained
# on strokes 7 to 15 pixels wide, and leaves traces of much thinner ones: draw the mask wider than a thin scratch.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, picture, title in zip(axes, (scratched, mask, filled), ("scratched", "mask", "filled"), strict=True):
    axis.imshow(picture, cmap="grey")
    axis.set_title(title)
    axis.axis("off")
plt.show()
