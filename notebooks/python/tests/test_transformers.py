"""What we export means the same to Hugging Face transformers; runs where torch and transformers are installed."""
import importlib.util
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import brazier

CHECK = Path(__file__).resolve().parents[3] / "tests" / "oracle" / "check_export.py"
TEXTS = ["abcabcabc", "the lazy dog", "row 7: the quick brown fox"]


@unittest.skipUnless(importlib.util.find_spec("transformers"), "transformers is not installed: notebooks/test.sh --torch")
class TransformersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.spark = brazier.session("local[2]", {"spark.ui.enabled": "false"})

    @classmethod
    def tearDownClass(cls):
        cls.spark.stop()

    def test_scores_and_greedy_text_of_an_export(self):
        rows = self.spark.createDataFrame([(f"row {i}: the quick brown fox jumps over the lazy dog",) for i in range(60)], ["text"])
        lm = brazier.CausalLM(textCol="text", tokenizer="bytes", numLayers=2, numHeads=3, width=24, hiddenWidth=40, sequenceLength=40,
                              batchSize=8, numSteps=60, learningRate=1e-2)
        model = lm.fit(rows)
        table = self.spark.createDataFrame([(text,) for text in TEXTS], ["text"])
        scored = model.setTask("score").setLogLikelihoodCol("score").setPerplexityCol("perplexity").transform(table).collect()
        written = model.setTask("generate").setOutputCol("written").setTemperature(0.0).setMaxNewTokens(10).transform(table).collect()
        expected = [dict(tokens=list(text.encode()), text=text, logLikelihood=score.score, greedy=list(new.written.encode()))
                    for text, score, new in zip(TEXTS, scored, written)]
        with tempfile.TemporaryDirectory() as folder:
            model.exportTo(folder)
            said = Path(folder, "expected.json")
            said.write_text(json.dumps({"rows": expected}))
            check = subprocess.run([sys.executable, str(CHECK), folder, str(said)], capture_output=True, text=True, timeout=300)
        self.assertEqual(0, check.returncode, check.stdout + check.stderr)


if __name__ == "__main__":
    unittest.main()
