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
TEXTS = ["over over", "the lazy dog", "café 7: the quick brown fox"]
NEW_TOKENS = 10


@unittest.skipUnless(importlib.util.find_spec("transformers"), "transformers is not installed: notebooks/test.sh --torch")
class TransformersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.spark = brazier.session("local[2]", {"spark.ui.enabled": "false"})

    @classmethod
    def tearDownClass(cls):
        cls.spark.stop()

    def test_scores_and_greedy_text_of_an_export(self):
        book = [f"café {i}: the quick brown fox jumps over the lazy dog" for i in range(60)]
        rows = self.spark.createDataFrame([(text,) for text in book], ["text"])
        table = self.spark.createDataFrame([(text,) for text in TEXTS], ["text"])
        for tokenizer in "bytes", "characters", "gpt2":
            lm = brazier.CausalLM(textCol="text", tokenizer=tokenizer, numLayers=2, numHeads=3, width=24, hiddenWidth=40,
                                  sequenceLength=40, batchSize=8, numSteps=60, learningRate=1e-2)
            with self.subTest(tokenizer), tempfile.TemporaryDirectory() as folder:
                model = lm.fit(rows)
                model.exportTo(folder)
                scores = model.setTask("score").transform(table).collect()
                written = model.setTask("generate").setTemperature(0.0).setMaxNewTokens(NEW_TOKENS).transform(table).collect()
                self.check(folder, [self.expected(folder, score, new) for score, new in zip(scores, written)])

    def expected(self, folder, score, new):
        jvm = self.spark.sparkContext._jvm.io.brazier
        tokenizer = jvm.text.Tokenizers.load(jvm.checkpoint.LocalStorage(), folder)
        row = dict(text=score.text, tokens=list(tokenizer.encode(score.text)), logLikelihood=score.logLikelihood)
        greedy = list(tokenizer.encode(new.generated))
        # A text says which tokens it was made of only if the tokenizer cuts it into as many.
        return dict(row, greedy=greedy) if len(greedy) == NEW_TOKENS else row

    def check(self, folder, rows):
        said = Path(folder, "expected.json")
        said.write_text(json.dumps({"rows": rows}))
        check = subprocess.run([sys.executable, str(CHECK), folder, str(said)], capture_output=True, text=True, timeout=300)
        self.assertEqual(0, check.returncode, check.stdout + check.stderr)
        self.assertTrue(json.loads(check.stdout)["tokenizer"], "no tokenizer.json was exported")


if __name__ == "__main__":
    unittest.main()
