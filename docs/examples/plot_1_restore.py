"""
Restore a photograph
====================

Three lines: read, restore, show. The model finds the damage by itself.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

import dtir

# %%
# A path, a PIL image, an array, a tensor, a batch or a list goes in, and the same kind comes back. ``with_details``
# says what was found and done as well.

photo = Image.open(Path(dtir.__file__).parent / "assets" / "damaged" / "dark.jpg")
restored, outcome = dtir.restore(photo, with_details=True)
print(outcome)

# %%
# The model of the package is an early checkpoint, and it has seen the photographs of these pages without their damage;
# its :doc:`scoreboard </benchmarks/weights>` says what it does to pictures that it has not seen.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axis, picture, title in zip(axes, (photo, restored), ("damaged", "restored"), strict=True):
    axis.imshow(picture)
    axis.set_title(title)
    axis.axis("off")
plt.show()
