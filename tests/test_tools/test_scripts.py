"""The shell scripts, with programs on the PATH that record how they are called."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = [*sorted((REPO / "tools").glob("*.sh")), REPO / ".ci" / "run"]

# Stands for Python and pip: says what it is asked, and makes a folder that looks like an environment.
FAKE_PYTHON = """#!/usr/bin/env bash
echo "$OMP_NUM_THREADS|$*" >>"$CALLS"
case "$*" in
    *version_info*) exit "${FAKE_OLD:-0}" ;;
    *ensurepip*) exit "${FAKE_NO_VENV:-0}" ;;
    *socket*) echo 12345 ;;
    *sysconfig*) dirname "$0" ;;
    *linkcheck*) exit "${FAKE_LINKS:-0}" ;;
    *sphinx*) echo "the site is built"; exit "${FAKE_SPHINX:-0}" ;;
    *cuda*) echo 0 ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip install"*) exit "${FAKE_PIP:-0}" ;;
esac
"""


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Runs a script of a copy of tools/ in which Python is a recorder; returns the finished process and the calls."""
    for folder in ("tools", "requirements", ".ci"):
        shutil.copytree(REPO / folder, tmp_path / "repo" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(REPO / name, tmp_path / "repo")
    for name in ("python", "srun", "sbatch"):
        program(tmp_path / "bin" / name, FAKE_PYTHON)
    for name in ("PORT", "NNODES", "NODE_RANK", "MASTER_ADDR", "OMP_NUM_THREADS", "DTIR_VENV", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    calls = tmp_path / "calls"

    def run(script: str, *words: str, **variables: str):
        calls.write_text("")
        settings = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PYTHON": str(tmp_path / "bin" / "python"),
            "CALLS": str(calls),
        }
        result = subprocess.run(
            ["bash", str(tmp_path / "repo" / "tools" / script), *words],
            cwd=tmp_path,
            env={**os.environ, **settings, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return result, calls.read_text().splitlines()

    run.repo = tmp_path / "repo"
    run.bin = tmp_path / "bin"
    return run


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax_and_strict_mode(script):
    subprocess.run(["bash", "-n", str(script)], check=True)

    assert script.name == "_env.sh" or "set -euo pipefail" in script.read_text()


def test_dist_train_on_one_machine(shell):
    result, calls = shell("dist_train.sh", "c.py", "2", "--resume", "--cfg-options", "a=b c")

    assert result.returncode == 0, result.stderr
    threads, words = calls[-1].split("|")
    assert threads == str(max(1, int(subprocess.check_output(["nproc"])) // 2))
    assert words == (
        f"{shell.repo}/tools/_torchrun.py --nnodes=1 --node_rank=0 --nproc_per_node=2 --master_addr=127.0.0.1 "
        f"--master_port=12345 {shell.repo}/tools/train.py c.py --launcher pytorch --resume --cfg-options a=b c"
    )


def test_dist_train_on_several_machines(shell):
    variables = {"NNODES": "3", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "OMP_NUM_THREADS": "5"}

    _, calls = shell("dist_train.sh", "c.py", "8", **variables)
    _, with_port = shell("dist_train.sh", "c.py", "8", PORT="1234", **variables)

    place = "_torchrun.py --nnodes=3 --node_rank=1 --nproc_per_node=8 --master_addr=10.0.0.1 --master_port="
    assert f"{place}29500 " in calls[-1]
    assert f"{place}1234 " in with_port[-1]
    assert calls[-1].startswith("5|")


def test_dist_test(shell):
    _, calls = shell("dist_test.sh", "c.py", "w.pth", "4", "--out", "m.json")

    assert "--nproc_per_node=4" in calls[-1]
    assert calls[-1].endswith("tools/test.py c.py w.pth --launcher pytorch --out m.json")


def test_build_docs(shell):
    result, calls = shell("build_docs.sh", "--plain", "-j", "2")
    assert result.returncode == 0, result.stderr
    commands = [line.partition("|")[2] for line in calls[-3:]]
    assert commands[0].startswith("-m sphinx.ext.apidoc")
    assert commands[1] == "-m sphinx -W --keep-going -q -D plot_gallery=0 -j 2 -b html docs docs/_build/html"
    assert commands[2] == "tools/misc/check_site.py docs/_build/html"

    _, calls = shell("build_docs.sh", "--external")
    assert calls[-1].endswith("-m sphinx -W --keep-going -q -b linkcheck docs docs/_build/linkcheck")
    result, _ = shell("build_docs.sh", "--external", FAKE_LINKS="1")
    assert result.returncode == 1
    assert "links to other sites do not answer: docs/_build/linkcheck/output.txt lists them." in result.stderr


def test_ci_installs_once_and_shows_what_ran_beside_the_rest(shell):
    program(shell.bin / "chromium", "#!/usr/bin/env bash")
    result, calls = shell("../.ci/run", "-x")
    assert result.returncode == 0, result.stderr
    ours = [call for call in calls if "pip install" in call and " -e " in call]
    assert len(ours) == 1
    assert ours[0].endswith(f"-e {shell.repo}[tests,docs]")
    assert "the site is built" in result.stdout
    for part in ("ruff format --check", "ruff check", "sphinx -W", "pytest tests/test_app", "pytest -n"):
        assert any(part in call for call in calls), part
    assert calls[-1].endswith(" --dist loadfile -x")


def test_ci_fails_with_what_runs_beside_the_rest(shell):
    program(shell.bin / "chromium", "#!/usr/bin/env bash")
    result, calls = shell("../.ci/run", FAKE_SPHINX="3")
    assert result.returncode != 0
    assert "the site is built" in result.stdout
    assert not any("pytest -n" in call for call in calls)


@pytest.mark.parametrize(
    ("script", "words", "part"),
    [
        ("dist_train.sh", ["c.py"], "usage: bash tools/dist_train.sh CONFIG GPUS"),
        ("dist_train.sh", ["c.py", "--resume"], "must be an integer >= 1, got '--resume'"),
        ("dist_train.sh", ["c.py", "0"], "must be an integer >= 1"),
        ("dist_test.sh", ["c.py", "2"], "usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS"),
        ("slurm_train.sh", ["p"], "slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR"),
        ("slurm_restore.sh", ["p", "4", "log"], "slurm_restore.sh PARTITION TASKS LOG.jsonl INPUT"),
        ("slurm_restore.sh", ["p", "log", "scans", "x"], "an integer >= 1; got 'log'"),
    ],
)
def test_wrong_use(shell, script, words, part):
    result, calls = shell(script, *words)

    assert result.returncode == 1
    assert part in result.stderr
    assert not calls


def test_slurm(shell):
    _, calls = shell("slurm_train.sh", "gpu", "job", "c.py", "out", "--amp", GPUS="16", SRUN_ARGS="--mem 9G")

    assert calls[-1].split("|")[1] == (
        "-p gpu --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8 --cpus-per-task=5 --kill-on-bad-exit=1 "
        f"--mem 9G {shell.bin}/python -u {shell.repo}/tools/train.py c.py --work-dir=out --launcher=slurm --amp"
    )


def test_slurm_restores_as_an_array_whose_tasks_may_be_requeued(shell):
    words = ("gpu", "16", "log.jsonl", "my scans", "--recursive", "--out", "it's")
    result, calls = shell("slurm_restore.sh", *words, GPUS_PER_TASK="2", SBATCH_ARGS="--time 9 --array 3%1")
    assert result.returncode == 0, result.stderr
    submitted, command = calls[-1].split("|")[1].split(" --wrap ")
    assert submitted == (
        "-p gpu --job-name=dtir-restore --array=1-16 --requeue --open-mode=append --ntasks=1 "
        "--cpus-per-task=5 --gres=gpu:2 --time 9 --array 3%1"
    )
    # What Slurm does with it, twice: the task is requeued.
    script = shell.repo / "tools" / "slurm_restore.sh"
    assert shlex.split(command) == ["bash", str(script), *words]
    for _ in range(2):
        result, calls = shell("slurm_restore.sh", *words, SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="1")
        assert result.returncode == 0, result.stderr
        assert calls[-1] == (
            f"5|--ntasks=1 --cpus-per-task=5 --kill-on-bad-exit=1 {shell.bin}/python -u -m dtir.cli restore my scans "
            "--recursive --out it's --log log.jsonl --share 3/16"
        )
    result, calls = shell("slurm_restore.sh", *words, SLURM_ARRAY_TASK_ID="17")
    assert "17 is none of 1 to 16" in result.stderr
    assert calls == []


def test_run_tests_installs_once(shell):
    # nproc takes a set OMP_NUM_THREADS for the number of cores.
    result, calls = shell("run_tests.sh", "-k", "some thing", OMP_NUM_THREADS="")

    assert result.returncode == 0, result.stderr
    assert any(f"-m pip install --disable-pip-version-check -e {shell.repo}[tests]" in call for call in calls)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert calls[-1] == f"1|-m pytest -n {cores} --dist loadfile -k some thing"

    result, calls = shell("run_tests.sh")
    assert "up to date" in result.stdout
    assert not any("pip install" in call or "-m venv" in call for call in calls)


def test_a_changed_requirement_installs_again(shell):
    shell("run_tests.sh")
    with (shell.repo / "requirements" / "runtime.txt").open("a") as file:
        file.write("another\n")

    _, calls = shell("run_tests.sh")

    assert any("pip install" in call for call in calls)
    assert not any("-m venv" in call for call in calls)


def test_a_failed_installation_is_tried_again(shell):
    result, _ = shell("run_tests.sh", FAKE_PIP="1")
    assert result.returncode == 1
    assert "installation failed" in result.stderr

    _, calls = shell("run_tests.sh")
    assert any("pip install" in call for call in calls)


def test_the_extras_have_an_environment_of_their_own(shell):
    above = shell.repo / ".venv" / "extras" / "bin"
    result, calls = shell("test_extras.sh", "-x")
    assert result.returncode == 0, result.stderr
    assert (above / "below.pth").read_text() == f'import site; site.addsitedir("{shell.repo}/.venv/bin")\n'
    installed = next(call for call in calls if "--requirement" in call)
    for extra in ("app", "onnx", "openvino"):
        assert f" --requirement=requirements/{extra}.txt" in installed
    assert calls[-1].startswith("1|-m pytest tests/test_app/test_page.py")
    assert calls[-1].endswith(" -x")
    # Every place that is named there exists.
    for place in calls[-1].split()[2:-1]:
        file, _, name = place.partition("::")
        assert (REPO / file).exists()
        assert not name or f"def {name}(" in (REPO / file).read_text()

    result, calls = shell("test_extras.sh")
    assert not any("pip install" in call or "-m venv" in call for call in calls)

    shutil.rmtree(above.parent)
    result, calls = shell("test_extras.sh", FAKE_PIP="1")
    assert result.returncode == 1
    assert "installation failed" in result.stderr
    assert not any("-m pytest" in call for call in calls)


def test_quickstart_restores_and_then_adapts(shell):
    result, calls = shell("quickstart.sh")

    assert result.returncode == 0, result.stderr
    ours = [call.partition("|")[2] for call in calls if "dtir.cli" in call or "quickstart_pictures" in call]
    show = "work_dirs/quickstart"
    assert ours[0].startswith(f"-m dtir.cli restore dtir/assets/damaged --out {show}/restored --log ")
    assert ours[1] == f"tools/misc/quickstart_pictures.py faded {show}"
    assert ours[2].startswith("-m dtir.cli adapt dtir/assets/models/universal.safetensors --pairs ")
    assert ours[3].startswith(f"-m dtir.cli restore {show}/faded --model {show}/with_faded.safetensors --task faded ")
    assert f"{shell.repo}/{show}/before_and_after.html" in result.stdout

    (shell.repo / show).mkdir(parents=True)
    (shell.repo / show / "with_faded.safetensors").touch()
    again, calls = shell("quickstart.sh")
    assert "learned them already" in again.stdout
    assert not any("adapt" in call for call in calls)


def test_quickstart_says_what_it_does_not_know(shell):
    result, calls = shell("quickstart.sh", "--amp")

    assert result.returncode == 1
    assert "--train [ARGS]" in result.stderr
    assert calls == []


def test_quickstart_trains_and_is_idempotent(shell):
    work_dir = shell.repo / "work_dirs" / "nafnet_10task_quick"
    (work_dir / "report").mkdir(parents=True)
    (work_dir / "report" / "results.md").write_text("the table")
    for complete in (False, True):
        result, calls = shell("quickstart.sh", "--train", "--amp")

        assert result.returncode == 0, result.stderr
        assert "Step 3 of 3" in result.stdout
        assert calls[-1].endswith(
            "tools/train.py configs/dtir/nafnet_10task_quick.py --launcher pytorch "
            "--work-dir work_dirs/nafnet_10task_quick --resume --amp"
        )
        assert ("complete already" in result.stdout) == ("the table" in result.stdout) == complete
        assert f"{work_dir}/report/panel.png" in result.stdout
        (work_dir / "last_checkpoint").write_text("iter_9.pth")
    assert f"--model {work_dir}/iter_9.pth" in result.stdout
    assert not any("pip install" in call for call in calls)


def test_the_test_installation_serves_the_quickstart(shell):
    shell("run_tests.sh")

    _, calls = shell("quickstart.sh")

    assert not any("pip install" in call for call in calls)


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"FAKE_OLD": "1"}, "older than Python 3.10"),
        ({"FAKE_NO_VENV": "1"}, "sudo apt install python3-venv"),
        ({"PYTHON": "no-such-python"}, "PYTHON=no-such-python is no program"),
    ],
)
def test_unusable_python(shell, variables, part):
    result, calls = shell("quickstart.sh", **variables)

    assert result.returncode == 1
    assert part in result.stderr
    assert not any("venv /" in call for call in calls)


def test_a_users_error_shows_no_traceback(tmp_path):
    config = tmp_path / "c.py"
    config.write_text("optim_wraper = dict()")

    result = subprocess.run(
        ["bash", str(REPO / "tools" / "dist_train.sh"), str(config), "1"],
        env={**os.environ, "PYTHON": sys.executable, "DTIR_VENV": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 2
    assert "unknown key 'optim_wraper'. Did you mean 'optim_wrapper'?" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_gpu_check_asks_for_its_folder_and_reads_as_bash():
    script = REPO / "tools" / "analysis" / "gpu_check.sh"
    asked = subprocess.run(["bash", str(script)], capture_output=True, text=True)
    assert asked.returncode != 0
    assert "usage: bash tools/analysis/gpu_check.sh OUT" in asked.stderr
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


@pytest.mark.parametrize(("seconds", "trained"), [("0", False), ("3m", True), ("", True)])
def test_the_gpu_check_trains_as_long_as_it_is_told(shell, tmp_path, seconds, trained):
    result, calls = shell("analysis/gpu_check.sh", str(tmp_path / "out"), TRAIN_SECONDS=seconds, TRAIN_STEPS="20 10")
    assert result.returncode == 0, result.stderr
    steps = [call for call in calls if "train_cfg.stages.0.iters=20 train_cfg.stages.1.iters=10" in call]
    assert len(steps) == trained
    assert ("training: exit code 0" in result.stdout) == trained
