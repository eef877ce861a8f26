"""Log a release gate to Weights & Biases, and move the released model's alias if it passes.

python wandb_gate.py report.json report.html ./candidate

With WANDB_MODE=offline the run is written to ./wandb and copies of its files to WANDB_DATA_DIR;
`wandb sync` sends both later, and only then does the server move the alias. What is not tried here:
a model of the Registry is moved with `run.link_artifact` instead, which offline raises
NotImplementedError.
"""

import argparse
import json
import re
from pathlib import Path

import wandb

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("report", type=Path, help="what --rag-json wrote")
parser.add_argument("page", type=Path, help="what --rag-report wrote")
parser.add_argument("checkpoint", type=Path, help="the candidate's folder")
parser.add_argument("--model", default="rag-model", help="the model artifact's name")
parser.add_argument("--alias", default="released")
parser.add_argument("--project", default="release-gate")
given = parser.parse_args()

gate = json.loads(given.report.read_text(encoding="utf-8"))["gate"]
if gate is None or len({each["model"] for each in gate["properties"]}) > 1:
    parser.error(f"{given.report} holds no gate of one model: run pytest with --rag-compare")

numbers = {}
for each in gate["properties"]:
    name = re.sub(r"\W+", "_", each["name"])
    numbers[f"change/{name}"] = each["change"]
    numbers[f"change_lower/{name}"] = each["change_interval"][0]
    numbers[f"candidate/{name}"] = each["candidate"]

config = {"policy": gate["policy"], "baseline": gate["baseline"]}
with wandb.init(project=given.project, tags=[gate["outcome"]], config=config) as run:
    # What is undefined is left out: nought would be a reading.
    run.log({name: number for name, number in numbers.items() if number is not None})
    evidence = wandb.Artifact(f"{given.model}-gate", type="report")
    evidence.add_file(str(given.report))
    evidence.add_file(str(given.page))
    run.log_artifact(evidence)
    model = wandb.Artifact(given.model, type="model", metadata={"rag.gate": gate["outcome"]})
    model.add_dir(str(given.checkpoint))
    run.log_artifact(model, aliases=["candidate", given.alias] if gate["passes"] else ["candidate"])

print(f"{given.model}: {gate['outcome']}, {gate['sentence']}")
if gate["passes"]:
    print(f"{given.model}:{given.alias} is this candidate{', once synced' if run.offline else ''}")
