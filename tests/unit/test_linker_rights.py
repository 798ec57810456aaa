"""Rights by the texts of /proc."""

from __future__ import annotations

import os
from pathlib import Path

from gdbext.linker.opening.rights import (
    Credentials,
    Rights,
    parse_confinement,
    parse_credentials,
    parse_limits,
    parse_mounts,
    refusal,
)

STATUS = (
    "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\nGroups:\t20 30 \n"
    "VmSize:\t    2048 kB\nVmData:\t     512 kB\nCapEff:\t0000000000000000\n"
)
LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max data size             unlimited            unlimited            bytes     \n"
    "Max open files            64                   1024                 files     \n"
    "Max address space         4194304              unlimited            bytes     \n"
)
MOUNTS = (
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "30 22 0:25 / /tmp/a\\040b rw,nosuid,noexec - tmpfs none rw,size=1k\n"
    "damaged\n"
)


def test_credentials() -> None:
    assert parse_credentials(STATUS) == Credentials(1003, frozenset({8, 20, 30}), False)
    assert parse_credentials("Uid:\tx\n") is None
    all_files = parse_credentials(STATUS.replace("0000000000000000", "0000000000000004"))
    assert all_files is not None
    assert all_files.all_files


def test_limits() -> None:
    found = parse_limits(LIMITS, STATUS, 7)
    assert (found.address_space, found.data, found.files) == (4 << 20, None, 64)
    assert (found.space_used, found.data_used, found.files_used) == (2 << 20, 512 << 10, 7)


def test_mounts() -> None:
    rights = Rights(None, parse_mounts(MOUNTS), None, None)
    mount = rights.mount_of("/tmp/a b/x.so")
    assert mount is not None
    assert (mount.type, "noexec" in mount.options) == ("tmpfs", True)
    root = rights.mount_of("/tmp/a bc")
    assert root is not None
    assert root.point == "/"


def test_modes(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    status = os.stat(file)
    stranger = Credentials(status.st_uid + 1, frozenset(), False)
    file.chmod(0o640)
    assert refusal(stranger, "f", os.stat(file))
    member = stranger._replace(groups=frozenset({status.st_gid}))
    assert refusal(member, "f", os.stat(file)) is None
    assert refusal(stranger._replace(all_files=True), "f", os.stat(file)) is None
    tmp_path.chmod(0o744)
    assert "search" in (refusal(stranger, "d", os.stat(tmp_path)) or "")


def test_confinement() -> None:
    assert parse_confinement("unconfined\n") is None
    assert parse_confinement("") is None
    assert parse_confinement("/usr/sbin/mysqld (enforce)\n") == "/usr/sbin/mysqld (enforce)"
