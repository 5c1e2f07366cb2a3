"""Samples on a cluster of processes: lost workers, a lost scheduler, and what is refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import facenb
from facenb import cluster, samples
from facenb.cluster import ClusterError, compute, connected
from facenb.presets import load_profile
from facenb.shards import Plan, Shards, make_shard, make_shards
from facenb.storage import shared
from facenb.storage.shared import FolderError
from scripts import sweep_methods

distributed = pytest.importorskip("distributed", reason="needs Dask, the extra `cluster`")
fsspec = pytest.importorskip("fsspec", reason="needs fsspec, the extra `cluster`")

NAME = "digiface-dcgan-64"
SHARD, COUNT = 96, 6
PATIENCE = 300  # seconds: two cores that do other things, too


@pytest.fixture(scope="module")
def generator():
    return facenb.load_generator(NAME)


@pytest.fixture(scope="module")
def scorers():
    return facenb.load_scorers("light", framing="digiface")


@pytest.fixture
def plan(tmp_path, monkeypatch, generator, scorers) -> Plan:
    """Of a folder, and with a cache for steps that has the outside files and nothing else."""
    assets = facenb.storage.cache.cache_dir()
    (tmp_path / "cache").mkdir()
    for name in ("assets", "nets"):
        (tmp_path / "cache" / name).symlink_to(assets / name)
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path / "cache"))
    return Plan.of(str(tmp_path / "shared"), NAME, generator, scorers, SHARD)


class Cluster:
    """A scheduler and workers, each a process of its own that nothing starts again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes, self.workers = folder, [], []
        self.address = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")

    def add(self, **variables: str) -> None:
        given = (self.address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")
        self._start("worker", *given, **variables)
        self.workers.append(self.processes[-1])

    def _start(self, what: str, *arguments: str, **variables: str) -> str:
        command = [sys.executable, "-m", "dask", what, *arguments, "--dashboard-address", ":0"]
        log = self.folder / f"{what}{len(self.processes)}.log"
        with log.open("w") as stream:
            self.processes.append(
                subprocess.Popen(
                    command, stdout=stream, stderr=stream, cwd=self.folder,
                    env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
                )
            )  # fmt: skip
        pattern = r"Scheduler at: +(tcp://\S+)" if what == "scheduler" else r"Registered to: +(\S+)"
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, log.read_text())):
            assert time.monotonic() < end and self.processes[-1].poll() is None, log.read_text()
            time.sleep(0.05)
        return found[1]

    def kill(self, process: subprocess.Popen) -> None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def running(folder: Path, workers: int) -> Iterator[Cluster]:
    folder.mkdir(exist_ok=True)
    own = Cluster(folder)
    try:
        for _ in range(workers):
            own.add()
        yield own
    finally:
        own.stop()


def files(plan: Plan) -> dict[str, tuple[int, int]]:
    """The shards that are there, by name: inode and time of writing."""
    found = Path(Shards(plan).path(0)).parent.glob("0*.safetensors")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def wait_for(plan: Plan, count: int) -> dict[str, tuple[int, int]]:
    end = time.monotonic() + PATIENCE
    while len(found := files(plan)) < count:
        assert time.monotonic() < end
        time.sleep(0.005)
    assert len(found) < COUNT, "there is work left to lose"
    return found


def test_bfloat16_is_a_set_of_its_own(plan, scorers):
    half = facenb.load_generator(NAME, dtype=torch.bfloat16)
    other = Plan.of(plan.url, NAME, half, scorers, SHARD, bfloat16=True)
    exact, rounded = make_shards(plan, 1), make_shards(other, 1)
    assert Shards(other).path(0) != Shards(plan).path(0)
    spread = Shards(plan).read(0).std(0)
    assert 0 < float(((exact - rounded).abs() / spread).max()) < 0.2


def test_a_worker_killed_in_the_middle_and_the_same_scores(plan, tmp_path) -> None:
    with running(tmp_path / "one", 2) as own, ThreadPoolExecutor(1) as pool:
        work = pool.submit(make_shards, plan, COUNT * SHARD - 40, own.address)
        before = wait_for(plan, 2)
        own.kill(own.workers[0])
        found = work.result(PATIENCE)
        assert own.workers[1].poll() is None
    after = files(plan)
    assert len(after) == COUNT and before.items() <= after.items(), "each is written once"
    here = make_shards(replace(plan, url=str(tmp_path / "here")), COUNT * SHARD - 40)
    assert found.shape == (COUNT * SHARD - 40, 2)
    # Two processes may round a product of matrices differently (alignment of its memory).
    torch.testing.assert_close(found, here, atol=1e-5, rtol=0)
    assert not torch.equal(found[:SHARD], found[SHARD : 2 * SHARD])


def test_a_scheduler_killed_in_the_middle(plan, tmp_path, monkeypatch) -> None:
    with running(tmp_path / "first", 1) as own, ThreadPoolExecutor(1) as pool:
        work = pool.submit(make_shards, plan, COUNT * SHARD, own.address)
        before = wait_for(plan, 1)
        own.kill(own.processes[0])
        with pytest.raises(ClusterError, match=rf"scheduler at {own.address} was lost; of 6 tasks"):
            work.result(PATIENCE)
    (damaged := Path(Shards(plan).path(0))).write_bytes(damaged.read_bytes()[:-3])
    before.pop(damaged.name, None)
    monkeypatch.setattr(samples, "SHARD", SHARD)
    monkeypatch.setattr(facenb, "load_scorers", lambda **_: facenb.scorers.load_scorers(
        "light", "digiface"))  # fmt: skip
    out = tmp_path / "out.safetensors"
    with running(tmp_path / "second", 1) as own:
        asked = ["--generator", NAME, "--n", str(COUNT * SHARD), "--shards", plan.url]
        with pytest.warns(UserWarning, match="is damaged"):
            assert samples.main([*asked, "--scheduler", own.address, "--out", str(out)]) == 0
    after = files(plan)
    assert len(after) == COUNT and before.items() <= after.items(), "what is there stays"
    monkeypatch.setattr(samples, "data_path", lambda name: out)
    assert (
        len(samples.shipped_scores(facenb.load_generator(NAME), facenb.load_scorers()))
        == COUNT * SHARD
    )


def test_what_is_refused_before_the_work(plan, tmp_path, monkeypatch) -> None:
    begin = time.monotonic()
    with pytest.raises(ClusterError, match=r"no scheduler .* 'tcp://127.0.0.1:9' within 1 s"):
        with connected("tcp://127.0.0.1:9", timeout=1):
            pass
    with pytest.raises(ClusterError, match="no scheduler of Dask answers at 'nonsense"):
        with connected("nonsense://127.0.0.1", timeout=1):
            pass
    assert time.monotonic() - begin < 10
    with running(tmp_path / "one", 0) as own:
        with pytest.raises(ClusterError, match=r"has no workers\. Start some: dask worker tcp:"):
            with connected(own.address, timeout=1):
                pass
        own.add()
        with monkeypatch.context() as patch:
            patch.setattr(torch, "__version__", "2.0.0+cu118")
            with pytest.raises(ClusterError, match=r"worker tcp:\S+ has torch \S+ \(here 2.0.0\)"):
                make_shards(plan, 1, own.address)
        wrong = replace(plan, identity=plan.identity | {"generator": "another"})
        with pytest.raises(ClusterError, match=r"-64 this machine has generator \w+, expected an"):
            make_shards(wrong, 1, own.address)
        with connected(own.address) as client:  # one that joins later is checked by its tasks
            monkeypatch.setattr(cluster, "_source", lambda: "0123")
            with pytest.raises(ClusterError, match=r"has source of facenb \S+ \(here 0123\)"):
                list(compute(client, len, ["a"]))
        monkeypatch.undo()
        (other := tmp_path / "old" / "facenb").mkdir(parents=True)
        (other / "__init__.py").write_text("")
        own.add(PYTHONPATH=os.pathsep.join([str(other.parent), os.environ.get("PYTHONPATH", "")]))
        with pytest.raises(ClusterError, match=r"worker tcp:\S+ has no facenb of this version"):
            with connected(own.address):
                pass


def test_errors_of_tasks_name_the_machine(plan, tmp_path) -> None:
    with running(tmp_path / "one", 1) as own, connected(own.address) as client:
        assert sorted(compute(client, len, ["", "a", "bc"])) == [0, 1, 2]
        with pytest.raises(ClusterError, match=r"failed on \S+: ValueError: invalid literal"):
            list(compute(client, int, ["x"]))
        with pytest.raises(ClusterError, match="a task failed: ZeroDivisionError"):
            list(compute(client, (1).__floordiv__, [0]))
        (tmp_path / "file").touch()
        with pytest.raises(FolderError, match=r"file cannot be read from by \S+: .*Not a dir"):
            make_shards(replace(plan, url=str(tmp_path / "file")), 1, own.address)


def test_without_workers_it_does_not_wait_for_ever(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with running(tmp_path / "one", 1) as own, connected(own.address) as client:
        with pytest.raises(ClusterError, match=r"Too little memory for a worker is the usual"):
            list(compute(client, os._exit, [1]))
        monkeypatch.setattr(cluster, "ALONE", 0.5)
        with pytest.raises(ClusterError, match=r"no worker is left .* 0 of 1 tasks are done"):
            list(compute(client, len, ["a"]))


@pytest.mark.parametrize("number", [28, 30])  # ENOSPC, EROFS
def test_a_full_or_read_only_folder_is_named(plan, monkeypatch, number) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shared, "atomic_write", fails)
    with pytest.raises(FolderError, match=rf"cannot be written to by .*{os.strerror(number)}"):
        make_shard(plan, 0)


def test_any_url_of_fsspec(plan) -> None:
    plan = replace(plan, url="memory://samples")
    memory = fsspec.filesystem("memory")
    first = make_shards(plan, 10)
    (k0,) = [path for path in memory.find("/samples") if path.endswith("0.safetensors")]
    written = memory.modified(k0)
    more = make_shards(plan, SHARD + 1)
    assert torch.equal(more[:10], first) and len(more) == SHARD + 1
    assert make_shard(plan, 0) == 0, "a task that is run twice"
    assert memory.modified(k0) == written
    names = [path.rpartition("/")[2] for path in memory.find("/samples")]
    assert sorted(names) == ["000000.safetensors", "000001.safetensors", "plan.json"]

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    store = Shards(plan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory), "mv", fails)
        with pytest.raises(FolderError, match=r"samples cannot be written .*No space left"):
            make_shard(plan, 2)
    assert len(memory.find("/samples")) == 3, "nothing half-written is left"
    other = Shards(replace(plan, identity=plan.identity | {"scorers": "others"}))
    assert other.path(0) != store.path(0), "other scores, another folder"
    memory.copy(store.path(0), store.path(2))
    with pytest.warns(UserWarning, match="000002.safetensors is damaged"):
        assert store.read(2) is None, "a shard of another seed"


def test_the_same_without_a_scheduler_as_sampling_gives(plan, generator, scorers) -> None:
    found = make_shards(plan, 2 * SHARD)
    expected = facenb.sampling.sample_scored(generator, scorers, SHARD, seed=1)
    assert torch.equal(found[SHARD:], expected.scores)


def test_a_scheduler_needs_a_folder(capsys) -> None:
    with pytest.raises(SystemExit):
        samples.main(["--scheduler", "tcp://127.0.0.1:8786"])
    assert "--scheduler needs --shards" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        samples.main(["--shards", "x", "--n", "0"])
    assert "expected 1 sample or more, given 0" in capsys.readouterr().err
    assert samples.main(["--generator", NAME, "--shards", "nonsense://x", "--n", "1"]) == 1
    assert "is no folder that can be reached" in capsys.readouterr().err


def test_a_sweep_of_methods_goes_on(tmp_path, monkeypatch, generator, scorers) -> None:
    found = facenb.sampling.sample_scored(generator, scorers, 256)
    own = sweep_methods.World(generator, scorers, found, load_profile("smoke"), "z")
    assert not torch.equal(own.half(0).scores, own.half(1).scores)
    monkeypatch.setattr(sweep_methods, "_world", lambda *_: own)
    learned = []

    def learn(world, seed):
        learned.append(seed)
        return sweep_methods.SeFa(2).fit(world.generator).editors()

    monkeypatch.setitem(sweep_methods.METHODS, "nameless", learn)
    sweep_methods._learned.cache_clear()
    out = tmp_path / "rows.csv"
    asked = ["--folder", str(tmp_path / "rows"), "--generator", NAME, "--profile", "smoke"]
    asked += ["--faces", "8", "--targets", "brightness", "--out", str(out), "--methods"]
    assert sweep_methods.main([*asked, "SeFa", "--seeds", "0"]) == 0
    (first,) = (tmp_path / "rows").iterdir()
    written = first.stat().st_mtime_ns
    with distributed.LocalCluster(1, processes=False, dashboard_address=":0") as local:
        asked += ["InterFaceGAN", "SeFa", "nameless", "--scheduler", local.scheduler_address]
        assert sweep_methods.main([*asked, "--seeds", "0", "1"]) == 0
    assert first.stat().st_mtime_ns == written and len(list((tmp_path / "rows").iterdir())) == 6
    table = pd.read_csv(out)
    assert list(table["method"]) == 2 * ["InterFaceGAN"] + 2 * ["SeFa"] + 2 * ["nameless"]
    mds = table.set_index(["method", "seed"])["mds"]
    assert mds["InterFaceGAN", 0] != mds["InterFaceGAN", 1], "another half of the samples"
    assert (mds["InterFaceGAN"] > 0.5).all(), "brightness is easy to learn"
    assert table["reason"].dropna().unique().tolist() == ["nameless has no editor for brightness."]
    assert sorted(learned) == [0, 1]
    assert sweep_methods.main(["--folder", "x", "--methods", "another"]) == 1


def test_a_connection_may_break_before_the_client_knows(monkeypatch) -> None:
    class Slow:
        """A client that notices after a moment, or never, that its scheduler is gone."""

        def __init__(self, notices: float) -> None:
            self.scheduler, self.until = SimpleNamespace(address="tcp://a"), notices
            self.begin = time.monotonic()

        @property
        def status(self) -> str:
            return "running" if time.monotonic() - self.begin < self.until else "connecting"

    def broken(timeout: float) -> None:
        raise ConnectionResetError("in gather")

    future = SimpleNamespace(result=broken)
    with pytest.raises(ClusterError, match=r"scheduler at tcp://a was lost; of 6 tasks 2 were"):
        cluster._result(Slow(0.3), future, 2, 6)
    monkeypatch.setattr(cluster, "_NOTICE", 0.2)
    with pytest.raises(ClusterError, match="a task failed: ConnectionResetError: in gather"):
        cluster._result(Slow(100), future, 2, 6)
