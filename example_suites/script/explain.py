"""Where does one answer come from? To run as a script, or cell by cell in an editor or notebook.

python example_suites/script/explain.py
"""

# %% A model and a case
from pathlib import Path

from pytest_ragshortcut import RagCase, RagModel, attribute_context, causal_trace, context_reliance
from pytest_ragshortcut.errors import MissingExtraError

model = RagModel.from_pretrained("embedded:reader")  # or the directory of your checkpoint
case = RagCase(
    "Where was Eavan Boland born?",
    [
        "The museum opens at nine every morning.",
        "Eavan Boland was born in Rome. Some of the letters have been lost.",
    ],
)

# %% How far does the answer follow the passages?
reliance = context_reliance(model, case)
print(reliance.title)
print(f"It says {reliance.case.answer!r}, and {reliance.case.memory_answer!r} without passages.")
print(f"Why: {reliance.reason}.")
for each in reliance.evidence:
    print(f"  {each.value:5.2f}  {each.probe}")

# %% Which sentence does the answer need?
attribution = attribute_context(model, case)
print(f"\n{attribution.title}")
for piece, nats in zip(attribution.pieces, attribution.effect, strict=True):
    print(f"  {nats:5.1f}  {piece.label}: {piece.text}")

# %% Through which states does it travel? The subject is blurred, and one state at a time restored.
trace = causal_trace(model, case)
print(f"\n{trace.title}")
for layer, effects in enumerate(trace.indirect_effect):
    token = trace.prompt.tokens[effects.argmax()]
    print(f"  {effects.max():5.2f}  comes back after layer {layer}, most of it at token {token!r}")

# %% A notebook draws any result that ends a cell. These are the same drawings, as files.
Path("trace.html").write_text(trace._repr_html_(), encoding="utf-8")
print("\ndrawn: trace.html")
try:
    trace.plot().savefig("trace.png")
    print("drawn: trace.png")
except MissingExtraError as missing:
    print(f"not drawn: {missing}")
