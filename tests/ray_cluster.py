"""A Ray cluster of two small machines, both of them this one."""

import os
from contextlib import contextmanager
from pathlib import Path

import moodreel

STORE_BYTES = 100 << 20
MOST_ATTEMPTS = 4
SETTINGS = {
    "RAY_DISABLE_MEMORY_MONITOR": "1",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_health_check_period_ms": "2000",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def started_cluster(monkeypatch):
    """Start it; what its workers import is what this process does."""
    from ray.cluster_utils import Cluster

    paths = [str(Path(moodreel.__file__).parents[1]), str(Path(__file__).parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster()
    try:
        for _ in range(2):
            add_node(cluster)
        cluster.wait_for_nodes(300)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster):
    """Add a machine of one core; one that is too slow to come up, as where much else runs, is tried again."""
    for attempt in range(MOST_ATTEMPTS):
        try:
            cluster.add_node(
                num_cpus=1,
                object_store_memory=STORE_BYTES,
                include_dashboard=False,
                include_log_monitor=False,
                no_monitor=True,
            )
            return
        except Exception:  # of no kind of its own
            if attempt == MOST_ATTEMPTS - 1:
                raise


def other_node(cluster):
    """Return a machine that is not the one that everything hangs on."""
    return next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
