import json
import socket

import pytest

from cluster.address import (
    check_ray_address,
    check_workspace_path,
    free_port,
    has_ray_token,
    inside_ray_job,
    is_loopback,
    split_address,
)
from pipeline.errors import UsageError

JOB = {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"metadata": {"job_submission_id": "raysubmit_1"}})}


@pytest.mark.parametrize(
    ("environ", "inside"),
    [
        (JOB, True),
        ({}, False),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{"}, False),
        ({"RAY_ADDRESS": "auto"}, False),
    ],
)
def test_a_submitted_job_is_recognised(environ, inside):
    assert inside_ray_job(environ) is inside


@pytest.mark.parametrize("path", ["workspace", "./a/b", "../x"])
def test_relative_paths_are_refused_inside_a_ray_job(path):
    with pytest.raises(UsageError, match=r"--archive .*absolute path.*s3://"):
        check_workspace_path(path, "--archive", JOB)
    assert check_workspace_path(path, environ={}) == path


@pytest.mark.parametrize("path", ["/data/workspace", "s3://bucket/prefix", "~/workspace"])
def test_other_paths_pass_inside_a_ray_job(path):
    assert check_workspace_path(path, environ=JOB) == path


def test_addresses_are_split():
    assert split_address("tcp://10.0.0.1:8786") == ("10.0.0.1", 8786)
    assert split_address("[::1]:6379") == ("::1", 6379)
    for wrong in ("head", "head:", "head:0", "head:99999", ":6379"):
        with pytest.raises(UsageError, match="HOST:PORT"):
            split_address(wrong)
    assert is_loopback("127.0.0.1") and is_loopback("localhost") and is_loopback("::1")
    assert not is_loopback("10.0.0.1") and not is_loopback("head")


def test_where_nothing_listens_is_refused_at_once():
    with pytest.raises(UsageError, match="no Ray answers"):
        check_ray_address(f"127.0.0.1:{free_port(0)}", {})


class _Elsewhere:
    """A connection to another machine, without a network."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def getsockname(self):
        return ("192.0.2.1", 40000)

    def getpeername(self):
        return ("192.0.2.2", 6379)


def test_another_machine_without_a_token_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(socket, "create_connection", lambda *_: _Elsewhere())
    bare = {"HOME": str(tmp_path)}
    for environ in (bare, {**bare, "RAY_AUTH_TOKEN": "x", "RAY_AUTH_MODE": "disabled"}):
        with pytest.raises(UsageError, match="RAY_AUTH_MODE=token"):
            check_ray_address("192.0.2.2:6379", environ)
    check_ray_address("192.0.2.2:6379", {**bare, "RAY_AUTH_TOKEN": "x"})
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x")
    assert has_ray_token(bare)
    check_ray_address("192.0.2.2:6379", {**bare, "RAY_AUTH_MODE": "token"})


def test_a_taken_port_is_replaced():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
