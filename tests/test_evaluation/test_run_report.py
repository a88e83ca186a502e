"""The report page of a training: what it shows, what it says is missing, and how a browser sees it."""

import base64
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dtir import cli
from dtir.core.errors import DtirError, LibraryError
from dtir.evaluation.published import SETTING_B
from dtir.evaluation.reports.run.embedding import purity
from dtir.evaluation.reports.run.record import read_run
from dtir.evaluation.reports.run.report import write_run_report
from dtir.tasks import TASKS
from dtir.testing.browser import find_browser
from tools.analysis import features

sys.path.insert(0, str(Path(__file__).parents[1] / "test_engine"))
from tiny_run import train

PARTS = {
    "forgetting.csv": "ForgettingHook",
    "confusion.csv": "BlindTaskHook",
    "experts.csv": "ExpertUseHook",
    "embedding.json": "tools/analysis/features.py",
    "results.json": "ReportHook",
    "run.json": "ReportHook",
    "pictures": "num_pictures",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    stages = [
        {"name": "pretrain", "iters": 2, "lr": 1e-3, "generative_share": 1.0},
        {"name": "finetune", "iters": 3, "lr": 1e-3, "generative_share": 0.25, "validate": True},
    ]
    hooks = [{"type": "TimestepMatchingHook", "before": "finetune", "num_images": 2}]
    hooks += [{"type": f"{kind}Hook"} for kind in ("Forgetting", "BlindTask", "ExpertUse", "Report")]
    options = {"train_cfg.stages": stages, "custom_hooks": hooks, "model.network.adapter": {"type": "MoEAdapter"}}
    train(folder, **options, **{"default_hooks.logger.interval": 1, "train_cfg.regularizers": []})
    return folder


@pytest.fixture
def work_dir(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def page_of(folder: Path, **options) -> str:
    return write_run_report(folder, **options).read_text(encoding="utf-8")


def test_the_page_needs_nothing_else_and_shows_every_task(work_dir, capsys):
    assert cli.main(["report", str(work_dir)]) == 0
    assert str(work_dir / "report.html") in capsys.readouterr().out
    page = (work_dir / "report.html").read_text(encoding="utf-8")
    outside = [link for link in re.findall(r'(?:src|href)="([^"]*)"', page) if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "@import" not in page
    results = json.loads((work_dir / "report/results.json").read_text())
    for task, row in results["tasks"].items():
        assert task in page
        assert f"{row['psnr']:.2f}" in page
    kept = json.loads((work_dir / "report/pictures/pictures.json").read_text())
    assert page.count("data:image/") == 3 * len(kept)
    assert page.count('type="range"') == len(kept)
    assert results["protocol"] in page
    assert len(re.findall(r"<img [^>]*alt=\"[^\"]+\"", page)) == page.count("<img ")


def test_the_slider_shows_each_picture_for_what_it_is(work_dir):
    """The later image lies on top, and the slider uncovers the input at the left of the restored picture."""
    page, folder = page_of(work_dir), work_dir / "report/pictures"
    kept = json.loads((folder / "pictures.json").read_text())
    shown = re.findall(r'<img src="([^"]+)" alt="(\w+)[^"]*" class="(\w+)"', page)
    names = [("Original", "gt"), ("Restored", "restored"), ("Input", "lq")]
    assert [image[1:] for image in shown] == names * len(kept)
    for (source, _, kind), entry in zip(shown, [entry for entry in kept for _ in names], strict=True):
        assert base64.b64decode(source.partition(",")[2]) == (folder / entry["files"][kind]).read_bytes()


def test_a_part_that_is_not_there_is_named_with_what_makes_it(work_dir):
    for name in PARTS:
        path = work_dir / "report" / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    page = page_of(work_dir)
    for name, maker in PARTS.items():
        assert name in page
        assert maker in page


def test_names_are_text_and_never_markup(work_dir):
    results = work_dir / "report" / "results.json"
    content = json.loads(results.read_text())
    content["tasks"]["<script>alert(1)</script>"] = next(iter(content["tasks"].values()))
    content["protocol"] = '"><img src=x onerror=alert(2)>'
    results.write_text(json.dumps(content))
    page = page_of(work_dir)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_other_runs_stand_beside_it(work_dir, tmp_path):
    other = Path(shutil.copytree(work_dir, tmp_path / "other"))
    page = page_of(work_dir, compare={"the other": other})
    assert page.count("the other") > page_of(work_dir).count("the other") == 0
    (other / "report/results.json").unlink()
    with pytest.raises(DtirError, match=r"--compare the other: .* has no report/results.json"):
        page_of(work_dir, compare={"the other": other})


def measured(work_dir: Path, rows: dict[str, dict], average: dict) -> None:
    """Puts results of these tasks in the place of the run's."""
    path = work_dir / "report" / "results.json"
    content = json.loads(path.read_text())
    template = next(iter(content["tasks"].values()))
    content["on_published_sets"] = True
    content["tasks"] = {task: {**template, **values} for task, values in rows.items()}
    content["average"].update(average)
    # Read with the usual measures, LPIPS among them.
    content.pop("measures", None)
    path.write_text(json.dumps(content))


def test_ten_tasks_stand_beside_the_published_methods(work_dir):
    measured(work_dir, {task: {} for task in TASKS}, {"psnr": 27.3, "ssim": 0.8512, "lpips": 0.1415})
    section = page_of(work_dir).split('id="published"')[1].split("</section>")[0]
    assert "arXiv 2506.21722" in section
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in section.split("<tbody>")[1].split("</tr>")[:-1]]
    assert ["PromptIR", "27.14", "0.859", "0.148"] in rows
    assert len(rows) == len(SETTING_B.rows) + 1
    assert rows[-1] == ["run (this run)", "27.30", "0.8512", "0.1415"]
    # The ablations are in the table alone.
    assert section.count('<path d="M') == len(SETTING_B.methods) + 1 == 8
    assert re.findall(r">([\d.]+ to [\d.]+)<", section) == ["26.43 to 28.47", "0.794 to 0.865", "0.172 to 0.123"]


def test_dehazing_stands_beside_setting_a_and_other_tasks_beside_none(work_dir):
    measured(work_dir, {"hazy": {"psnr": 29.5}, "hazy@REVIDE": {"psnr": 19.5, "ssim": None}}, {})
    section = page_of(work_dir).split('id="published"')[1].split("</section>")[0]
    own = re.findall(r"<td>([^<]*)<", section.split("run (this run)")[1])
    assert own[::2] == ["29.50", "19.50"]
    assert own[3] == "-"
    measured(work_dir, {"noisy": {}, "hazy": {}}, {})
    section = page_of(work_dir).split('id="published"')[1].split("</section>")[0]
    assert "There are published figures of the ten tasks together" in section


def test_other_pictures_do_not_stand_beside_published_methods(work_dir):
    measured(work_dir, {task: {} for task in TASKS}, {})
    path = work_dir / "report" / "results.json"
    path.write_text(path.read_text().replace('"on_published_sets": true', '"on_published_sets": false'))
    section = page_of(work_dir).split('id="published"')[1].split("</section>")[0]
    assert "not measured on the published test sets" in section
    assert "PromptIR" not in section


def test_stages_of_a_running_training_follow_its_log(work_dir):
    facts = work_dir / "report" / "run.json"
    facts.write_text(facts.read_text().replace('"iter": 5', '"iter": 0'))
    stages = re.findall(r"<td>(done|running|to come)</td>", page_of(work_dir))
    assert stages == ["done", "done"]


def test_what_is_no_work_folder_or_damaged_is_named(work_dir, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert cli.main(["report", str(tmp_path / "empty")]) == 2
    assert "expected the work folder of a training" in capsys.readouterr().err
    (work_dir / "report/results.json").write_text("{")
    with pytest.raises(DtirError, match=r"results\.json' is damaged \(JSONDecodeError"):
        read_run(work_dir)
    assert not (work_dir / "report.html").exists()


def features_of(work_dir: Path, monkeypatch, *words: str) -> int:
    checkpoint, (config,) = str(work_dir / "iter_5.pth"), work_dir.glob("*.py")
    command = [str(config), "--before", checkpoint, "--after", checkpoint, "--work-dir", str(work_dir)]
    monkeypatch.setattr(sys, "argv", ["features.py", *command, "--size", "8", "--crops", "2", *words])
    return features.main()


def test_features_before_and_after_become_two_maps(work_dir, monkeypatch):
    files = [f"val_dataloader.dataset.datasets.{k}.files=[coffee.png,chelsea.png]" for k in range(3)]
    assert features_of(work_dir, monkeypatch, "--cfg-options", *files) == 0
    maps = json.loads((work_dir / "report/embedding.json").read_text())["maps"]
    assert [len(one["points"]) for one in maps] == [12, 12]
    # Both are of one checkpoint here.
    assert maps[0]["points"] == maps[1]["points"]
    page = page_of(work_dir)
    assert maps[0]["title"] in page
    assert "tools/analysis/features.py" not in page


def test_features_of_one_photograph_are_refused(work_dir, monkeypatch, capsys):
    assert features_of(work_dir, monkeypatch) == 1
    assert "features of one photograph alone say nothing" in " ".join(capsys.readouterr().err.split())


def browser() -> str:
    try:
        return find_browser()
    except LibraryError as error:
        pytest.skip(str(error))


# Written into a copy of the page: what is wrong with it in the browser, and what its controls do.
CATCH_ERRORS = "<script>window.wrong = []; window.onerror = (text) => window.wrong.push(text);</script>"
LOOK = """
<script>
const outside = (text) => {
  const box = text.getBBox(), view = text.ownerSVGElement.viewBox.baseVal;
  return box.x < view.x || box.x + box.width > view.x + view.width || box.y + box.height > view.y + view.height;
};
const figure = document.querySelector(".compare"), slider = figure.querySelector("input");
const lq = figure.querySelector(".lq"), clip = () => getComputedStyle(lq).clipPath;
const seen = () => getComputedStyle(lq).visibility;
const press = (kind) => document.dispatchEvent(new KeyboardEvent(kind, { key: "g" }));
const facts = { wrong: window.wrong, clips: [clip()], visibility: [seen()] };
slider.value = 20;
slider.dispatchEvent(new Event("input"));
facts.clips.push(clip());
slider.focus();
press("keydown");
facts.visibility.push(seen());
press("keyup");
facts.visibility.push(seen());
figure.querySelector("button").click();
facts.visibility.push(seen());
Object.assign(facts, {
  moved: getComputedStyle(document.querySelectorAll(".compare .lq")[1]).clipPath,
  broken: [...document.images].filter((image) => !image.naturalWidth).length,
  cut: [...document.querySelectorAll("svg text")].filter(outside).map((text) => text.textContent),
  wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  width: document.documentElement.clientWidth,
  empty: [...document.querySelectorAll("section")].filter((part) => part.offsetHeight < 60).map((part) => part.id),
});
document.documentElement.dataset.facts = JSON.stringify(facts);
</script>
"""


def look(page: Path, profile: Path, width: int) -> dict:
    """What a headless browser finds on the page in a window so wide."""
    text = page.read_text(encoding="utf-8")
    assert text.count("<style>") == 1
    copy = page.with_name("looked_at.html")
    copy.write_text(text.replace("<style>", f"{CATCH_ERRORS}<style>").replace("</body>", f"{LOOK}</body>"))
    quiet = ["background-networking", "component-update", "sync", "gpu"]
    options = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    options += [f"--user-data-dir={profile}", f"--window-size={width},900", "--virtual-time-budget=2000"]
    done = subprocess.run(
        [browser(), *options, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'data-facts="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("width", [1300, 520])
def test_a_browser_shows_the_page_whole_and_its_controls_work(work_dir, tmp_path, monkeypatch, width):
    files = [f"val_dataloader.dataset.datasets.{k}.files=[coffee.png,chelsea.png]" for k in range(3)]
    assert features_of(work_dir, monkeypatch, "--cfg-options", *files) == 0
    facts = look(write_run_report(work_dir), tmp_path / "profile", width)
    assert facts["wrong"] == []
    assert facts["broken"] == 0
    assert facts["cut"] == []
    assert facts["empty"] == []
    assert facts["wider"] == 0
    assert abs(facts["width"] - width) < 30
    # Of the input the left half is seen, then a fifth; another picture's slider stays where it was.
    assert facts["clips"] == ["inset(0px 50% 0px 0px)", "inset(0px 80% 0px 0px)"]
    assert facts["moved"] == facts["clips"][0]
    # The original takes its place while G is held, and when the button was pressed.
    assert facts["visibility"] == ["visible", "hidden", "visible", "hidden"]


def test_purity_counts_neighbours_of_other_photographs():
    tasks, photographs = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    apart = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    crossed = torch.tensor([[0.0], [5.0], [5.0], [0.0]])
    assert purity(apart, tasks, photographs) == 1
    assert purity(crossed, tasks, photographs) == 0
