"""Log a release gate to MLflow, and move the released model's alias if the gate passes.

python mlflow_gate.py report.json report.html ./candidate
"""

import argparse
import json
import re
from contextlib import suppress
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("report", type=Path, help="what --rag-json wrote")
parser.add_argument("page", type=Path, help="what --rag-report wrote")
parser.add_argument("checkpoint", type=Path, help="the candidate's folder")
parser.add_argument("--model", default="rag-model", help="the registered model")
parser.add_argument("--alias", default="released")
parser.add_argument("--tracking", default="sqlite:///mlflow.db", help="the tracking server's URI")
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

mlflow.set_tracking_uri(given.tracking)
mlflow.set_experiment("release gate")
client = mlflow.MlflowClient()
with suppress(MlflowException):  # it exists already
    client.create_registered_model(given.model)
with mlflow.start_run() as run:
    mlflow.set_tags({"rag.gate": gate["outcome"], "rag.baseline": gate["baseline"]})
    # What is undefined is left out: nought would be a reading.
    mlflow.log_metrics({name: number for name, number in numbers.items() if number is not None})
    mlflow.log_artifact(given.report, "rag")
    mlflow.log_artifact(given.page, "rag")
    mlflow.log_artifacts(given.checkpoint, "model")
    source, tags = mlflow.get_artifact_uri("model"), {"rag.gate": gate["outcome"]}
    version = client.create_model_version(given.model, source, run.info.run_id, tags=tags)

print(f"{given.model} version {version.version}: {gate['outcome']}, {gate['sentence']}")
if gate["passes"]:
    client.set_registered_model_alias(given.model, given.alias, version.version)
    print(f"{given.model}@{given.alias} is now version {version.version}")
