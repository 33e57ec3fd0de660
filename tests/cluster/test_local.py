"""Start-up on one machine: only loopback listens, no token is left, workers see what the driver writes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from distributed import KilledWorker

from catalogs.folder import Folder
from cluster import local
from cluster.head import ray_head
from cluster.local import dask_client, ray_session
from cluster.probe import probe_workspace
from pipeline.errors import UsageError

DRIVER = """
import os, ray
from pathlib import Path
from cluster.local import ray_session
with ray_session(workers=1, object_store_bytes=100_000_000) as session:
    environment = ray.get(ray.remote(lambda: dict(os.environ)).remote())
    print(session.address, session.dashboard, environment["RAY_AUTH_MODE"], environment["OMP_NUM_THREADS"])
assert not list(Path.home().rglob("auth_token")), "a token was left in the home folder"
"""


def listening(family: list[psutil.Process]) -> set[str]:
    hosts = set()
    for process in family:
        if process.is_running():
            hosts |= {c.laddr.ip for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return {host.removeprefix("::ffff:") for host in hosts}


def test_dask_listens_on_loopback_with_one_thread_a_worker(dask_client):
    info = dask_client.scheduler_info()
    assert info["address"].startswith("tcp://127.0.0.1:")
    assert {worker["nthreads"] for worker in info["workers"].values()} == {1}
    assert set(dask_client.run(lambda: os.environ["OMP_NUM_THREADS"]).values()) == {"1"}
    assert listening([psutil.Process(), *psutil.Process().children(recursive=True)]) <= {"127.0.0.1"}


def test_a_running_dask_is_found_by_address(dask_client, monkeypatch):
    from cluster.local import dask_client as connect

    monkeypatch.setenv("SKYSIFT_DASK_ADDRESS", dask_client.scheduler.address)
    with connect() as second:
        assert second.scheduler.address == dask_client.scheduler.address
    assert dask_client.submit(sum, [1, 2]).result() == 3  # leaving a cluster does not end it


def test_no_dask_at_an_address_is_a_usage_error():
    with (
        pytest.raises(UsageError, match="no Dask scheduler answers"),
        dask_client(address="tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_a_private_ray_leaves_no_token(tmp_path, tree, mode):
    environ = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": mode}
    environ.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], cwd=tree, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    address, dashboard, seen, threads = done.stdout.split()
    assert address.startswith("127.0.0.1:") and dashboard.startswith("http://127.0.0.1:")
    assert (seen, threads) == (mode, "1")


def test_two_that_start_at_once_both_start(tmp_path, tree):
    environ = {**os.environ, "HOME": str(tmp_path)}
    environ.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-c", DRIVER]
    both = [
        subprocess.Popen(command, cwd=tree, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        told = [one.communicate(timeout=120) for one in both]
    finally:
        for one in both:
            one.kill()
            one.wait()
    assert [one.returncode for one in both] == [0, 0], told[0][1][-2000:] + told[1][1][-2000:]
    assert len({out.split()[1] for out, _ in told}) == len({out.split()[0] for out, _ in told}) == 2


def test_a_head_listens_on_loopback_only_and_takes_jobs(tree):
    with ray_head(1, object_store_bytes=100_000_000) as head:
        family = psutil.Process(head.process.pid).children(recursive=True)
        assert listening(family) == {"127.0.0.1"}
        submit = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.dashboard]
        submit += ["--working-dir", str(tree), "--", sys.executable, "-c"]
        submit += [
            "from cluster.address import inside_ray_job; from cluster.local import ray_session;"
            "s = ray_session(); print('inside', inside_ray_job(), s.__enter__().address);"
            "s.__exit__(None, None, None)"
        ]
        done = subprocess.run(submit, env=head.environ, capture_output=True, text=True, timeout=120)
        assert f"inside True {head.address}" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_a_workspace_that_all_workers_see_passes(dask_client, ray_cluster, workspace):
    assert probe_workspace(workspace, dask_client) == 2
    assert probe_workspace(workspace) == 1
    assert workspace.list() == []


def test_a_workspace_that_a_worker_does_not_see_is_refused(workspace):
    class Blind:
        def run(self, *_):
            return {"tcp://here": True, "tcp://there": False}

    with pytest.raises(UsageError, match=r"tcp://there; give a path"):
        probe_workspace(workspace, Blind())


def test_a_probe_whose_driver_died_is_removed(dask_client, workspace, s3_folder, monkeypatch):
    assert probe_workspace(s3_folder, dask_client) == 2
    for folder in (workspace, s3_folder):
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "remove", lambda *_: None)  # as when the driver is killed
            probe_workspace(folder, dask_client)
    assert workspace.sweep() == 0  # of a process that is alive
    (name,) = os.listdir(workspace.root)
    os.rename(workspace.local(name), workspace.local(name.replace(f".{os.getpid()}.", ".4194305.")))
    assert workspace.sweep() == 1 and os.listdir(workspace.root) == []
    assert len(s3_folder.list()) == 1
    monkeypatch.setattr("cluster.probe._LEFT_S", -60.0)
    probe_workspace(s3_folder, dask_client)
    assert s3_folder.list() == []


def test_work_that_kills_two_workers_is_given_up(dask_client):
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(KilledWorker, match="on 2 different workers"):
        dask_client.submit(die, pure=False).result()
    dask_client.wait_for_workers(2)


def test_what_a_task_raises_is_not_logged_by_its_worker(tree):
    code = "from cluster.local import dask_client\nif __name__ == '__main__':\n"
    code += "    with dask_client(1) as client: print(client.submit(int, 'x').exception())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, timeout=60)
    assert "invalid literal" in done.stdout and "Compute Failed" not in done.stderr


def test_no_ray_at_an_address_is_refused_at_once(ray_cluster):
    code = "from cluster.local import ray_session\nwith ray_session(address='127.0.0.1:9'): pass"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert "no Ray answers" in done.stderr and time.monotonic() - start < 20


def test_a_second_session_of_a_process_uses_the_first(ray_cluster):
    with ray_session() as second:
        assert second.address == ray_cluster.address and not second.started_here
    import ray

    assert ray.is_initialized()


def test_without_a_dashboard_ray_starts_all_the_same(monkeypatch, caplog):
    def init(**options):
        assert options["include_dashboard"] is None  # True would raise where it does not come up
        return SimpleNamespace(dashboard_url="")

    monkeypatch.setattr("ray.init", init)
    assert not local._start_ray(1, None).dashboard_url
    assert "without it" in caplog.text


def test_work_that_is_done_stays_done_when_dask_is_slow_to_stop(monkeypatch, caplog):
    from distributed import LocalCluster

    close = LocalCluster.close

    def slow(self, timeout=None):
        close(self, timeout)
        raise TimeoutError

    monkeypatch.setattr(LocalCluster, "close", slow)
    with local.dask_client(1) as client:
        assert client.submit(abs, -3).result() == 3
    assert "slow to stop" in caplog.text
