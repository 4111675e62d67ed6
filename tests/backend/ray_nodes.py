"""A real Ray cluster on this machine, in a separate process: python ray_nodes.py FOLDER NODES TOKEN_FILE.

Prints the head's address. Each node has a folder for its workers, FOLDER/node-1 and so on. It then carries out
commands, one per line: "kill 1", "stop 1", "go on 1" (a node with all its processes at once, as when a machine loses
power or its network cable), "add", "add old" (with another version of EX-4D), "add gpus 2" (as listed by
FOLDER/bin/nvidia-smi). It ends the cluster when its input closes.
"""

import os
import signal
import sys
from contextlib import suppress

MEMORY = 80 * 1024**2


def main() -> None:
    folder, nodes, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    os.environ |= {"RAY_AUTH_MODE": "token" if token else "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    if token:
        os.environ["RAY_AUTH_TOKEN_PATH"] = token
    import psutil
    from ray.cluster_utils import Cluster

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    started = []

    def add(gpus: int = 0) -> None:
        place = os.path.join(folder, f"node-{len(started) + 1}")
        os.environ["EX4D_CLUSTER_FOLDER"] = place  # Ray's processes inherit this environment
        started.append(cluster.add_node(num_cpus=1, num_gpus=gpus, object_store_memory=MEMORY))

    def family(number: int) -> list[psutil.Process]:
        raylet = psutil.Process(started[number - 1].all_processes["raylet"][0].process.pid)
        return [raylet, *raylet.children(recursive=True)]

    for _ in range(nodes):
        add()
    print(cluster.address, file=out, flush=True)
    signals = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "go on": signal.SIGCONT}
    stopped: dict[int, list[psutil.Process]] = {}
    for line in sys.stdin:
        what, _, number = line.strip().rpartition(" ")
        if line.strip() == "add":
            add()
        elif line.strip() == "add old":
            old = os.path.join(folder, "old")
            os.mkdir(old)
            with open(os.path.join(old, "sitecustomize.py"), "w") as file:
                file.write("import ex4d\nex4d.__version__ = '0.0.1'\n")
            usual = os.environ["PYTHONPATH"]
            os.environ["PYTHONPATH"] = old + os.pathsep + usual
            add()
            os.environ["PYTHONPATH"] = usual
        elif what == "add gpus":
            os.environ["PATH"] = os.path.join(folder, "bin") + os.pathsep + os.environ["PATH"]
            add(int(number))
        else:
            processes = stopped.get(int(number)) or family(int(number))
            stopped[int(number)] = processes
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signals[what])
        print("done", file=out, flush=True)
    for processes in stopped.values():
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    cluster.shutdown()


if __name__ == "__main__":
    main()
