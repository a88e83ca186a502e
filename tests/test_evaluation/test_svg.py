"""Geometry of the report page's charts."""

import re

import numpy as np
import pytest

from dtir.evaluation.published import SETTING_A_DEHAZING, SETTING_B
from dtir.evaluation.render.radar import Spoke, radar, scaled_radar
from dtir.evaluation.render.svg import Series, heatmap, line_chart, ticks
from dtir.tasks import TASKS

PUBLISHED = (SETTING_B, SETTING_A_DEHAZING)


def box(markup: str) -> tuple[float, float]:
    """Width and height of the drawing."""
    return tuple(map(float, re.search(r'viewBox="0 0 (\S+) (\S+)" role', markup).groups()))


def outlines(markup: str) -> list[np.ndarray]:
    """Corners of the outlines, relative to the centre, the closing one left out."""
    width, height = box(markup)
    paths = re.findall(r'<path d="M([^"]+)" class="line', markup)
    corners = [np.array([place.split() for place in path.split("L")], float) for path in paths]
    return [(points - (width / 2, height / 2))[:-1] for points in corners]


@pytest.mark.parametrize("spread", [1, 1.3, 1.99, 2.4, 3.1, 4.9, 5.01, 7.7, 9.99])
@pytest.mark.parametrize("power", [1e-4, 0.1, 1, 1000])
def test_ticks_are_round_and_from_three_to_seven(spread, power):
    for low in (0.0, 0.37, -1.71, 12.345):
        values = ticks(low * power, (low + spread) * power)
        assert 3 <= len(values) <= 7
        assert low * power - 1e-9 <= values[0]
        assert values[-1] <= (low + spread) * power + 1e-9
        steps = np.diff(values)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
        leading = steps[0] / 10 ** np.floor(np.log10(steps[0] * 1.0001))
        assert min(abs(leading - m) for m in (1, 2, 5)) < 1e-6


def test_a_line_goes_through_its_values_and_the_axis_can_be_read():
    chart = line_chart("loss", [Series("loss", [0, 10, 20], [0.06, 0.13, 0.095])])
    (path,) = re.findall(r'<path d="M([^"]+)" class="line', chart)
    x, y = np.array([place.split() for place in path.split("L")], float).T
    assert np.diff(x)[0] == pytest.approx(np.diff(x)[1], abs=0.11)
    # Down the page is downwards in value.
    assert (y[2] - y[1]) / (y[0] - y[1]) == pytest.approx(0.5, abs=0.01)
    labels = re.findall(r'text-anchor="end">([^<]+)<', chart)
    assert labels == ["0.06", "0.08", "0.1", "0.12"]


def test_a_radar_chart_has_one_scale_and_inverts_it():
    series = [Series("a", [0, 1, 2], [10.0, 20.0, 30.0])]
    radii = [np.linalg.norm(outlines(radar("PSNR", "pqr", series, inverted))[0], axis=1) for inverted in (False, True)]
    assert np.diff(radii[0]) == pytest.approx(np.diff(radii[0])[0], abs=0.2)
    assert (np.diff(radii[0]) > 0).all()
    assert radii[1] == pytest.approx(radii[0][::-1], abs=0.2)


def test_spokes_of_their_own_scale_have_the_best_outside():
    spokes = [Spoke("PSNR"), Spoke("SSIM"), Spoke("LPIPS", smaller=True)]
    series = [Series("a", [0, 1, 2], [20.0, 0.9, 0.1]), Series("b", [0, 1, 2], [30.0, 0.7, 0.3])]
    chart = scaled_radar("all", spokes, [*series, Series("middle", [0, 1, 2], [25.0, 0.8, 0.2])])
    a, b, middle = (np.linalg.norm(points, axis=1) for points in outlines(chart))
    assert a == pytest.approx([30, 120, 120], abs=0.2)
    assert b == pytest.approx([120, 30, 30], abs=0.2)
    assert middle == pytest.approx([75, 75, 75], abs=0.2)
    assert "20 to 30" in chart
    assert "0.3 to 0.1" in chart


def test_equal_values_and_values_that_are_missing_are_drawn():
    spokes = [Spoke("PSNR"), Spoke("SSIM"), Spoke("LPIPS", smaller=True)]
    series = [Series("a", [0, 1, 2], [20.0, 0.9, 0.1]), Series("b", [0, 1], [20.0, float("nan")])]
    a, b = outlines(scaled_radar("all", spokes, series))
    assert len(a) == 3
    assert len(b) == 1
    for chart in (radar, scaled_radar):
        with pytest.raises(ValueError, match="three spokes and a finite value"):
            chart("few", spokes[:2], series)


def values(count: int) -> list[Series]:
    return [Series("a", range(count), [21.25] * count), Series("b", range(count), [20.75] * count)]


@pytest.mark.parametrize(
    "chart",
    [
        radar("PSNR", TASKS, values(10)),
        *(scaled_radar(t.title, list(map(Spoke, t.columns)), values(len(t.columns))) for t in PUBLISHED),
    ],
)
def test_names_at_the_spokes_fit_the_chart(chart):
    names = re.findall(r'<text x="(\S+)" y="(\S+)" dy="0.32em" text-anchor="(\w+)">([^<]+)<', chart)
    assert len(names) >= 6
    for x, y, anchor, name in names:
        width = 7 * len(name)
        start = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        assert 0 <= start <= start + width <= box(chart)[0]
        assert 6 <= float(y) <= box(chart)[1] - 6


def test_a_heat_map_is_as_wide_as_its_cells():
    for columns in (8, 36, 400):
        names = [str(k) for k in range(columns)]
        chart = heatmap("use", ["a", "b"], names, [[0.5] * columns] * 2, 4)
        # Stretched to the page, a narrow map has letters of the size of its cells.
        assert f'style="width:{box(chart)[0]:.0f}px"' in chart
        assert chart.count('class="cell"') == 2 * columns
