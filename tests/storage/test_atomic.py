"""Half-written files go once they are old; locks that other machines do not see are refused."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.data.canonical import import_pairs
from core.errors import UserError
from core.runs import hashing
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.steps import CheckSpec
from core.storage import atomic
from core.storage.atomic import ABANDONED, local_locks, sweep, writing_atomic
from core.storage.object_store import RemoteFiles
from core.workspace.checks import UPLOADS, keep_upload


def half(path, *, age):
    """As a killed writer left it, so many seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_half_written_files_are_deleted_after_a_day_and_others_stay(tmp_path):
    old = half(tmp_path / "a.parquet.17.part", age=ABANDONED + 60)
    stays = [
        half(tmp_path / "a.parquet.18.part", age=ABANDONED - 60),
        half(tmp_path / "a.parquet", age=ABANDONED + 60),
        half(tmp_path / "deeper" / "a.parquet.17.part", age=ABANDONED + 60),
    ]
    with writing_atomic(tmp_path / "b.parquet") as part:
        part.write_bytes(b"b")
        sweep(tmp_path)
    assert not old.exists()
    assert all(path.exists() for path in stays)
    assert (tmp_path / "b.parquet").read_bytes() == b"b"


def test_only_what_the_pattern_names_goes(tmp_path):
    budgets = half(tmp_path / "token-budgets.json.17.part", age=ABANDONED + 60)
    pairs = half(tmp_path / "pairs-1-2.arrow.17.part", age=ABANDONED + 60)
    sweep(tmp_path, "token-budgets.json.*")
    assert not budgets.exists()
    assert pairs.exists()


def keep_fingerprint(folder, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(folder))
    monkeypatch.setattr(hashing, "LARGE", 1)
    monkeypatch.setattr(hashing, "SETTLED", -1)
    hashing._hash.cache_clear()
    (folder / "pairs.jsonl").write_text("{}")
    hashing.fingerprint_file(folder / "pairs.jsonl")


def upload(folder, _monkeypatch):
    keep_upload("pairs.jsonl", b"{}", folder)


def import_some(folder, _monkeypatch):
    row = {"uid": "u", "prompt": "p", "chosen": "a", "rejected": "b", "source": "s"}
    (folder / "given.jsonl").write_text(json.dumps(row))
    import_pairs(folder / "given.jsonl", folder / "inputs" / "pairs.parquet")


def open_remote(folder, _monkeypatch):
    RemoteFiles(folder / "index", f"file://{folder / 'there'}")


@pytest.mark.parametrize(
    ("left", "write"),
    [
        ("cache/fingerprints/0123.17.part", keep_fingerprint),
        (f"{UPLOADS}/other.jsonl.17.part", upload),
        ("inputs/pairs.parquet.17.part", import_some),
        ("index/shards/00000-layer3.npy.17.part", open_remote),
    ],
)
def test_whoever_writes_to_a_folder_sweeps_it(tmp_path, monkeypatch, left, write):
    old = half(tmp_path / left, age=ABANDONED + 60)
    write(tmp_path, monkeypatch)
    assert not old.exists()


ROOT = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
NFS = "40 27 0:50 / /lab rw,relatime shared:9 - {} server:/lab rw,vers={},{},addr=10.0.0.1\n"


def mounted(system, *, at="/lab", beside=""):
    return f"{ROOT}40 27 0:50 / {at} rw,relatime shared:9 - {system}\n{beside}".encode()


@pytest.mark.parametrize(
    ("mounts", "named"),
    [
        (mounted("nfs server:/lab rw,vers=3,nolock,local_lock=all"), "local_lock=all, nolock"),
        (mounted("nfs4 server:/lab rw,vers=4.2,local_lock=flock"), "local_lock=flock"),
        (mounted("nfs server:/lab rw,vers=3,local_lock=posix"), "local_lock=posix"),
        (mounted("lustre mgs@tcp:/lab rw,localflock,lazystatfs"), "localflock"),
        (mounted("lustre mgs@tcp:/lab rw,lazystatfs"), "lustre, is mounted without flock"),
        (mounted("cifs //server/lab rw,vers=3.1.1,nobrl"), "nobrl"),
        (mounted("gfs2 /dev/shared rw,localflocks"), "localflocks"),
        (mounted("fuse.s3fs s3fs rw,user_id=0"), "s3fs"),
        (mounted("fuse mountpoint-s3 rw,user_id=0"), "mountpoint-s3"),
        (mounted("fuse.sshfs me@server:/lab rw", at="/lab/my\\040work"), "sshfs"),
        (mounted("ext4 /dev/vdb rw", beside=NFS.format("nfs", 3, "nolock")), "nolock"),
    ],
)
def test_a_mount_whose_locks_other_machines_do_not_see_is_named(mounts, named):
    assert named in local_locks(Path("/lab/my work/runs/lock"), mounts)


@pytest.mark.parametrize(
    "mounts",
    [
        ROOT.encode(),
        mounted("nfs4 server:/lab rw,vers=4.2,local_lock=none"),
        mounted("nfs server:/lab rw,vers=3,local_lock=none"),
        mounted("lustre mgs@tcp:/lab rw,flock,lazystatfs"),
        mounted("fuse.glusterfs server:/lab rw,user_id=0"),
        mounted("ceph 10.0.0.1:6789:/ rw,acl"),
        mounted("fuse.s3fs s3fs rw", at="/laboratory"),  # another folder
        mounted("fuse.s3fs s3fs rw", beside=NFS.format("nfs4", 4.2, "local_lock=none")),  # over it
        mounted("fuse.s3fs s3fs rw", beside="41 40 8:1 / /lab/my\\040work rw - xfs /dev/vdc rw\n"),
    ],
)
def test_a_mount_whose_locks_work_or_of_which_nothing_is_known_is_not_refused(mounts):
    assert local_locks(Path("/lab/my work/runs/lock"), mounts) == ""


def test_a_step_is_refused_where_its_lock_would_not_be_seen(tmp_path, monkeypatch):
    store, mounts = Store(tmp_path / "workspace"), tmp_path / "mountinfo"
    mounts.write_bytes(mounted("nfs server:/lab rw,nolock", at=str(store.workspace)))
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    monkeypatch.setattr(atomic, "MOUNTS", mounts)
    spec = CheckSpec(pairs=str(tmp_path / "pairs.jsonl"))
    with pytest.raises(UserError, match=r"mounted with nolock.*keep the workspace on a local disk"):
        execute(spec, store)
    assert "nolock" in store.info(store.run_id(spec)).error
    monkeypatch.setattr(atomic, "MOUNTS", tmp_path / "as on another system")
    assert store.state(execute(spec, store)) == "finished"


MOUNT = """
import ctypes, os, sys
from pathlib import Path
from core.storage.atomic import MOUNTS, local_locks
def mount(source, at, kind, options):
    if ctypes.CDLL(None, use_errno=True).mount(source, os.fsencode(at), kind, 0, options):
        sys.exit(f"no mount here: {os.strerror(ctypes.get_errno())}")
try:
    opened = os.open("/dev/fuse", os.O_RDWR)
except OSError as error:
    sys.exit(f"no mount here: {error}")
bucket, disk = map(Path, sys.argv[1:])
mount(b"s3fs", bucket, b"fuse.s3fs", b"fd=%d,rootmode=40000,user_id=0,group_id=0" % opened)
mount(b"tmpfs", disk, b"tmpfs", None)
print([local_locks(folder / "runs", MOUNTS.read_bytes()) for folder in (bucket, disk)])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are read on Linux only")
def test_a_real_mount_is_found_by_its_folder(tmp_path):
    """In a mount namespace of its own, so that nobody else sees it."""
    folders = [tmp_path / "a bucket", tmp_path / "disk"]
    for folder in folders:
        folder.mkdir()
    command = ["unshare", "--mount", sys.executable, "-c", MOUNT, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no mount here" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"mounts are not allowed here: {done.stderr}")
    assert done.stdout.strip() == "['its file system, s3fs, keeps locks to one machine', '']"
