"""A reader of a file whose writer was killed in the middle of a change sees what was last committed, and no error."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from mines.store.disk import SCHEMA, open_reader

WRITER = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(f"PRAGMA journal_mode={sys.argv[2]}")
database.execute("PRAGMA cache_size=5")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE t SET body = randomblob(3000)")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_reader_after_a_kill_in_mid_change_sees_the_last_commit(tmp_path, journal):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        database.executemany("INSERT INTO t (body) VALUES (?)", [(bytes([i % 256]) * 3000,) for i in range(300)])
        database.execute(f"PRAGMA user_version={SCHEMA}")
    database.close()
    done = subprocess.run([sys.executable, "-c", WRITER, str(path), journal], check=False)
    assert done.returncode == -signal.SIGKILL
    left = {name for name in os.listdir(tmp_path) if name != "x.db"}
    assert left == ({"x.db-journal"} if journal == "delete" else {"x.db-wal", "x.db-shm"})
    reader = open_reader(path)
    assert reader is not None
    bodies = [body for (body,) in reader.execute("SELECT body FROM t ORDER BY id")]
    assert bodies == [bytes([i % 256]) * 3000 for i in range(300)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM t")
    reader.close()
