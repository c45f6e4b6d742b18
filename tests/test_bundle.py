"""A trained version on disk survives kills, full disks and damage, and says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Block, Bundle, Models
from recsys.data.identity import Ids
from recsys.errors import BundleError

FACTORS = np.arange(12, dtype=np.float32).reshape(4, 3)

KILLED_AT_EVERY_LINE = """
import itertools, os, shutil, signal, sys
import numpy as np
from recsys.bundle import Models

models = Models(sys.argv[1])

def write(moment):
    writer = models.write()
    writer.add("factors", np.full((4, 3), moment, np.float32))
    writer.note(moment=moment)
    writer.commit()

def kill_at(moment):
    passed = itertools.count()
    def trace(frame, event, arg):
        if not frame.f_code.co_filename.endswith(("bundle.py", "storage.py")):
            return None
        if next(passed) >= moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)

for moment in itertools.count(1):
    before = models.active()
    child = os.fork()
    if child == 0:
        kill_at(moment)
        write(moment)
        sys.settrace(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    after = models.active()
    models.verify(after)
    if os.WIFEXITED(status):
        assert models.open().facts["moment"] == moment
        print("done", moment)
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    whole = models.open(after)
    assert after == before or whole.facts["moment"] == moment, (before, after)
    print("killed", moment, after != before)
    for version in models.versions():  # else each moment lengthens the next write's listing
        if version != after:
            shutil.rmtree(models.folder.locate(f"versions/{version}"))
"""

FULL_DISK = """
import resource, sys
import numpy as np
from recsys.bundle import Models

models = Models(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
writer = models.write()
writer.add("factors", np.zeros((1000, 100), np.float32))
writer.commit()
"""


def write_version(models: Models, *, scale: float = 1.0, activate: bool = True) -> str:
    writer = models.write()
    writer.add("factors", FACTORS * scale)
    writer.add("flags", np.array([True, False]))
    writer.add_ids("items", Ids.from_strings(["a/b", "ü 🎵"], kind="item"))
    writer.note(scale=scale)
    return writer.commit(activate=activate)


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=120
    )


def block_file(models: Models, name: str) -> Path:
    return Path(models.folder.locate(models.open().arrays[name][0].file))


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path / "models")


def test_what_was_written_is_read_back(models: Models) -> None:
    version = write_version(models)
    bundle = models.open()
    assert bundle.version == version == models.active()
    np.testing.assert_array_equal(bundle.array("factors"), FACTORS)
    assert list(bundle.ids("items", kind="item")) == ["a/b", "ü 🎵"]
    assert bundle.facts == {"scale": 1.0}
    assert "factors" in bundle and "text" not in bundle


def test_arrays_are_mapped_and_cannot_be_changed(models: Models) -> None:
    write_version(models)
    factors = models.open().array("factors")
    assert isinstance(factors.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        factors[0, 0] = 1.0


def test_blocks_are_joined_in_row_order(models: Models) -> None:
    from recsys.bundle import write_block

    writer = models.write()
    blocks = [write_block(models.folder, part) for part in np.split(FACTORS, 2)]
    writer.add_blocks("factors", blocks)
    writer.commit()
    np.testing.assert_array_equal(models.open().array("factors"), FACTORS)


def test_equal_blocks_are_stored_once(models: Models) -> None:
    write_version(models, scale=1.0)
    before = models.folder.names("blocks")
    write_version(models, scale=1.0)
    assert models.folder.names("blocks") == before


def test_a_kill_at_any_moment_leaves_a_whole_version_active(models: Models) -> None:
    write_version(models)
    run = run_script(KILLED_AT_EVERY_LINE, Path(models.folder.path))
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    assert lines[-1][0] == "done"
    kept = [line for line in lines[:-1] if line[2] == "False"]
    assert len(kept) > 50, "the script must be killed at many moments before the switch"


def test_a_full_disk_leaves_the_former_version_active_and_no_debris(models: Models) -> None:
    former = write_version(models)
    run = run_script(FULL_DISK, Path(models.folder.path))
    assert run.returncode != 0
    assert "File too large" in run.stderr
    assert models.active() == former
    assert models.verify() == 4
    assert not list(Path(models.folder.path).rglob("*.part"))


@pytest.mark.parametrize("kept_bytes", [0, 5, 100, 140])
def test_a_truncated_block_is_named(models: Models, kept_bytes: int) -> None:
    write_version(models)
    file = block_file(models, "factors")
    file.write_bytes(file.read_bytes()[:kept_bytes])
    with pytest.raises(BundleError, match=rf"{file.name}.*activate another version"):
        models.open().array("factors")


def test_a_block_of_another_shape_is_named(models: Models) -> None:
    write_version(models)
    np.save(block_file(models, "factors"), FACTORS[:2])
    with pytest.raises(BundleError, match=r"holds float32\(2, 3\), the manifest says"):
        models.open().array("factors")


def test_a_pickled_block_is_refused(models: Models) -> None:
    write_version(models)
    np.save(block_file(models, "factors"), np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="cannot be read"):
        models.open().array("factors")


def test_verify_finds_one_flipped_bit(models: Models) -> None:
    write_version(models)
    assert models.verify() == 4
    file = block_file(models, "factors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=f"{file.name}: damaged"):
        models.verify()


def test_verify_finds_a_missing_block(models: Models) -> None:
    write_version(models)
    block_file(models, "flags").unlink()
    with pytest.raises(BundleError, match="holds nothing"):
        models.verify()


def manifest_file(models: Models) -> Path:
    return Path(models.folder.locate(f"versions/{models.active()}/manifest.json"))


def test_a_manifest_of_a_newer_schema_is_refused(models: Models) -> None:
    write_version(models)
    file = manifest_file(models)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 99}))
    with pytest.raises(BundleError, match=r"newer recsys \(schema 99, known 1\); upgrade"):
        models.open()


@pytest.mark.parametrize(
    "content", ["", '{"schema": 1, "arr', "[]", '{"schema": 1}', "\udcff", '{"schema": "x"}']
)
def test_a_damaged_manifest_is_named(models: Models, content: str) -> None:
    write_version(models)
    manifest_file(models).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(BundleError, match=r"manifest\.json: .*activate another version"):
        models.open()


def test_rollback_goes_to_the_version_before(models: Models) -> None:
    first, second, third = (write_version(models, scale=s) for s in (1.0, 2.0, 3.0))
    assert models.versions() == [first, second, third]
    assert models.rollback() == second == models.active()
    assert models.rollback() == first
    with pytest.raises(BundleError, match="no version before"):
        models.rollback()
    assert models.active() == first
    models.activate(third)
    assert models.active() == third


def test_a_version_can_be_made_without_serving(models: Models) -> None:
    first = write_version(models)
    second = write_version(models, scale=2.0, activate=False)
    assert models.active() == first
    assert models.open(second).facts == {"scale": 2.0}


def test_activate_refuses_what_cannot_be_opened(models: Models) -> None:
    version = write_version(models)
    with pytest.raises(BundleError, match=f"no version .*nearest: {version}"):
        models.activate(version[:-1])
    with pytest.raises(BundleError, match="no version"):
        models.activate("../../etc")
    assert models.active() == version


def test_an_empty_folder_says_what_to_do(models: Models) -> None:
    with pytest.raises(BundleError, match="no active version; make one with `recsys train`"):
        models.open()
    assert models.versions() == []


def test_a_missing_array_says_what_to_train(models: Models) -> None:
    version = write_version(models)
    with pytest.raises(BundleError, match=f"version {version} has no text/vectors; train it"):
        Bundle(models.folder, version).array("text/vectors")


def test_a_block_lies_where_its_hash_says() -> None:
    assert Block("ab12", (1,), "int8").file == "blocks/ab12.npy"
