"""Runs the notebooks headless and the tests of the Python package; closes with "N passed, N failed". Start it by test.sh.

--update writes the outputs of this run into the notebooks, as they are committed.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import nbformat
import pyspark
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
JUPYTER = HERE / "quickstart.ipynb"
ZEPPELIN = HERE / "zeppelin" / "quickstart.zpln"
LIMIT_SECONDS = 400


def check_story(losses, written):
    """What both notebooks claim: training teaches something, and the model writes text."""
    assert losses and all(math.isfinite(loss) for loss in losses), f"losses {losses[:5]}..."
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    assert last < first - 0.5, f"the loss fell only from {first} to {last}"
    assert written and all(len(text) >= 100 and len(set(text)) >= 8 for text in written), f"written: {written}"


def check_committed_outputs(outputs_of_code):
    """The outputs that are committed: some for every paragraph that prints, none of them an error."""
    assert sum(bool(outputs) for outputs in outputs_of_code) >= 4, "run test.sh --update and commit the outputs"
    assert "error" not in json.dumps(outputs_of_code).lower(), "a committed output holds an error"


def run_jupyter(update):
    notebook = nbformat.read(JUPYTER, as_version=4)
    if not update:
        check_committed_outputs([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])
    probe = nbformat.v4.new_code_cell(
        "import json; print(json.dumps([summary.lossHistory, list(written.written)])); spark.stop()")
    notebook.cells.append(probe)
    NotebookClient(notebook, timeout=LIMIT_SECONDS, kernel_name="python3", record_timing=False).execute(cwd=str(HERE))
    notebook.cells.pop()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"], "a cell failed"
    assert any(len(output.get("data", {}).get("image/png", "")) > 5000 for output in outputs), "no loss curve was drawn"
    check_story(*json.loads(next(output.text for output in probe.outputs if output.get("name") == "stdout")))
    if update:
        for cell in notebook.cells:
            # The JVM's log lines are of the machine, not of the story.
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        nbformat.write(notebook, JUPYTER)


def run_zeppelin(update):
    """Zeppelin's own server is not at hand; its Scala paragraphs run in the spark-shell of PyPI's pyspark, each as one block."""
    note = json.loads(ZEPPELIN.read_text())
    paragraphs = [p for p in note["paragraphs"] if p["text"].startswith("%spark\n")]
    if not update:
        check_committed_outputs([p["results"]["msg"] for p in paragraphs])
    outputs = run_scala([p["text"].removeprefix("%spark\n") for p in paragraphs])
    table = next(output for output in outputs if output.startswith("%table"))
    losses = [float(line.split("\t")[1]) for line in table.splitlines()[1:]]
    story = next(output for output in outputs if output.startswith("And God said|"))
    written = re.findall(r"^(?:And God said|Thou shalt not)\|((?:.|\n)*?)\n\n", story + "\n\n", re.M)
    check_story(losses, written)
    assert "model.safetensors" in outputs[-1], outputs[-1]
    if update:
        for paragraph, output in zip(paragraphs, outputs):
            kind, data = ("TABLE", output.removeprefix("%table ")) if output == table else ("TEXT", output)
            messages = [{"type": kind, "data": data}] if data else []
            paragraph.update(status="FINISHED", results={"code": "SUCCESS", "msg": messages})
        ZEPPELIN.write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n")


def run_scala(blocks):
    """The printed output of each block; a block that does not compile or throws fails the test with the whole log."""
    with tempfile.TemporaryDirectory() as folder:
        script = ""
        for i, block in enumerate(blocks):
            file = Path(folder, f"{i}.scala")
            # The REPL says nothing of its own between the two lines: it prints a block's values after its last expression.
            file.write_text(f'println("\\n<begin {i}>")\n{block}\nprintln("<end {i}>")\n')
            script += f":paste {file}\n"
        shell = Path(pyspark.__file__).parent / "bin" / "spark-shell"
        settings = ("spark.plugins=io.brazier.spark.plugin.BrazierPlugin", "spark.ui.showConsoleProgress=false")
        command = [shell, "--master", "local[2]", "--jars", os.environ["BRAZIER_JAR"], *(f"--conf={each}" for each in settings)]
        run = subprocess.run(command, input=script + ":quit\n", capture_output=True, text=True, timeout=LIMIT_SECONDS, cwd=folder)
    outputs = []
    for i in range(len(blocks)):
        printed = re.search(rf"^<begin {i}>\n(.*?)^<end {i}>$", run.stdout, re.M | re.S)
        assert printed, f"paragraph {i} failed:\n{run.stdout[-5000:]}\n{run.stderr[-5000:]}"
        outputs.append(printed.group(1).rstrip("\n"))
    return outputs


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--update", action="store_true")
    update = arguments.parse_args().update
    package = [sys.executable, "-W", "ignore", "-m", "unittest", "discover", "-s", str(HERE / "python" / "tests")]
    tests = {
        "python package": lambda: subprocess.run(package, check=True, timeout=LIMIT_SECONDS),
        "quickstart.ipynb": lambda: run_jupyter(update),
        "zeppelin/quickstart.zpln": lambda: run_zeppelin(update),
    }
    failed = 0
    for name, test in tests.items():
        start = time.monotonic()
        try:
            test()
            verdict = "passed"
        except Exception:  # every test is run and reported, whatever the one before met
            traceback.print_exc()
            verdict, failed = "failed", failed + 1
        print(f"{name}: {verdict} in {time.monotonic() - start:.0f} s", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
