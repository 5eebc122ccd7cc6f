"""Run a campaign on a cluster, from the database to the report.

The commands of a cluster on one machine: a MongoDB with users, a campaign file, a worker, and a report.
"""

# %% [markdown]
# You will learn to
#
# - create the users of a database and their configuration files,
# - check and submit many calculations from one file,
# - run the jobs with workers and follow their progress,
# - read the results and write a report.

# %%
import atexit
import os
import secrets
import socket
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
from pymongo import MongoClient

from alchemflows import Campaign
from alchemflows.storage.mongod import find_binary

# Short lengths test the script within a minute; the results are then not meaningful.
short = "ALCHEMFLOWS_SHORT" in os.environ


def shell(command: str) -> None:
    """Run a command of the shell and print what it prints."""
    print("$", command)
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    print(done.stdout)
    if done.returncode:
        raise RuntimeError(done.stderr)


# %% [markdown]
# ## A MongoDB with users
#
# On a cluster, a MongoDB runs on a server that all nodes can reach; `db_config/README.md` in the repository describes
# its set-up with TLS. The next cell starts a server on this machine in its place, and creates its administrator.

# %%
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
Path("mongodb").mkdir()
options = f"--auth --dbpath mongodb --bind_ip 127.0.0.1 --port {port} --nounixsocket --logpath mongod.log"
server = subprocess.Popen([find_binary(), *options.split()], stdout=subprocess.DEVNULL)
atexit.register(server.terminate)

password = secrets.token_urlsafe(24)
MongoClient("127.0.0.1", port).admin.command("createUser", "admin", pwd=password, roles=["root"])
Path("admin-uri").touch(mode=0o600)
Path("admin-uri").write_text(f"mongodb://admin:{password}@127.0.0.1:{port}/")

# %% [markdown]
# `db init` creates a user with a random password, and writes the files that connect this user to the database. Without
# `--user` it creates one user for each role: submitter, worker and reader ([security](../security.md)).

# %%
shell("alchemflows db init config --admin-uri-file admin-uri --user me=submitter,worker")
os.environ["FW_CONFIG_FILE"] = str(Path("config/me/FW_config.yaml").resolve())
os.environ["JOBFLOW_CONFIG_FILE"] = str(Path("config/me/jobflow.yaml").resolve())

# %% [markdown]
# Put the same two variables into your `~/.bashrc` on the cluster. `alchemflows doctor` shows what is configured and
# says how to correct what is missing.
#
# ## The campaign file

# %%
campaign_file = Path("salts.yaml")
if short:
    text = campaign_file.read_text().replace("[300, 400]", "[300]").replace("repeats: 2", "repeats: 1")
    campaign_file.write_text(text)
print(campaign_file.read_text())

# %% [markdown]
# ## Check, then submit
#
# `check` reads all files, makes every flow and measures the time of a step. Submitting a file again adds nothing, so
# you can add a temperature or a repeat later and submit the same file.

# %%
shell("alchemflows campaign check salts.yaml")
shell("alchemflows campaign submit salts.yaml")
shell("alchemflows campaign status salts")

# %% [markdown]
# ## Run the jobs
#
# A worker takes jobs from the database until none is left. Start as many as you like, on any machine that reaches the
# database. On a cluster, workers run in batch jobs, which the templates in `launchers/` submit:
#
# ```bash
# qlaunch -q ~/alchemflows-config/my_qadapter.yaml -w ~/alchemflows-config/my_fworker_gpu.yaml \
#     rapidfire -m 4 --nlaunches infinite --sleep 120
# ```
#
# A job that reaches the wall time continues in the next batch job from its checkpoint. `alchemflows supervise` reruns
# lost and failed jobs.

# %%
shell("alchemflows worker --until-idle --sleep 1 > worker.log 2>&1")
shell("tail -n 1 worker.log")
shell("alchemflows campaign status salts")
shell("alchemflows campaign failures salts")

# %% [markdown]
# If jobs failed, `failures` lists them by cause, and `alchemflows campaign retry salts` runs them again.
#
# ## Results and report

# %%
shell("alchemflows results --campaign salts")
shell("alchemflows campaign report salts salts.html --figures 3")

# %% [markdown]
# The report is one HTML file without scripts. In Python, the same results are a table of pandas.

# %%
frame = Campaign.from_file(campaign_file).free_energies()
print(frame[["final", "temperature_K", "repeat", "delta_f_eV_per_atom", "error_eV_per_atom", "verdict"]].to_string())

# %% ΔF of each substitution
figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
for formula, rows in frame.groupby("final"):
    axes.errorbar(
        rows["temperature_K"], rows["delta_f_eV_per_atom"], rows["error_eV_per_atom"], fmt="o", capsize=3, label=formula
    )
axes.set_xlabel("temperature (K)")
axes.set_ylabel("ΔF (eV/atom)")
axes.legend(frameon=False, title="NaCl →")
figure.savefig("campaign.png")

# %% [markdown]
# Two repeats of the same condition differ only in their seeds: if they differ by more than their error bars, the
# windows are too short. `alchemflows campaign extend salts.yaml --runs 3` continues the finished windows.

# %% Stop the server of this page
server.terminate()
print("mongod ended with status", server.wait())

# %% [markdown]
# ## Next
#
# - [Campaigns](../campaigns.md): all fields and commands
# - [Results and database](../database.md), [checkpoints](../resuming.md), [limits](../scale.md)
