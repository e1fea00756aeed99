"""Tests of the Python package against the Java classes, in one local Spark."""
import json
import tempfile
import unittest

import brazier
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import SQLTransformer


class BrazierTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.spark = brazier.session("local[2]", {"spark.ui.enabled": "false"})
        texts = [f"row {i}: the quick brown fox jumps over the lazy dog" for i in range(60)]
        cls.rows = cls.spark.createDataFrame([(text,) for text in texts], ["text"])

    @classmethod
    def tearDownClass(cls):
        cls.spark.stop()

    def estimator(self, **params):
        small = dict(textCol="text", tokenizer="bytes", numLayers=1, numHeads=2, width=16, sequenceLength=16, batchSize=4,
                     numSteps=5)
        return brazier.CausalLM(**{**small, **params})

    def test_every_param_of_the_java_class_with_its_default(self):
        lm = brazier.CausalLM()
        java = {param.name() for param in lm._java_obj.params()}
        self.assertEqual(java, {param.name for param in lm.params})
        self.assertGreater(lm.getOrDefault("numSteps"), 0)
        self.assertIn("numSteps", lm.explainParams())

    def test_setters_and_getters_as_in_mllib(self):
        lm = self.estimator().setNumSteps(7).setLearningRate(1)
        self.assertEqual((7, 1.0), (lm.getNumSteps(), lm.getLearningRate()))
        self.assertEqual(9, lm.copy({lm.numSteps: 9}).getNumSteps())
        self.assertEqual(7, lm.getNumSteps())
        self.assertIn("setNumSteps", dir(lm))

    def test_a_wrong_name_is_answered_with_the_right_one(self):
        with self.assertRaisesRegex(TypeError, "no param numstep: did you mean numSteps"):
            self.estimator(numstep=3)
        with self.assertRaises(AttributeError):
            self.estimator().setNumStep(3)

    def test_summary_has_one_row_a_step(self):
        summary = self.estimator(evaluationInterval=5).fit(self.rows).summary
        self.assertEqual(5, len(summary.lossHistory))
        self.assertEqual(list(range(1, 6)), list(summary.history.step))
        self.assertEqual(summary.lossHistory, list(summary.history.loss))
        self.assertEqual(summary.validationLoss, summary.evaluations.loss.iloc[-1])
        self.assertGreater(summary.tokensPerSecond, 0)
        self.assertTrue(summary.device.startswith("the CPU, as rank 0 has no GPU: "), summary.device)

    def test_the_plan_is_told_before_anything_runs(self):
        lm = self.estimator(numWorkers=4, tensorParallel=2, zeroStage=1)
        self.assertIn("dp 2 * pp 1 * cp 1 * ep 1 * tp 2", lm.explain(self.rows))
        self.assertEqual(2, json.loads(lm.explainJson(self.rows))["layout"]["tp"])
        with self.assertRaisesRegex(Exception, "numWorkers is 4"):
            lm.setPipelineParallel(3).explain(self.rows)

    def test_estimator_model_and_pipeline_survive_saving(self):
        words = SQLTransformer(statement="SELECT lower(text) AS text FROM __THIS__")
        fitted = Pipeline(stages=[words, self.estimator(seed=3)]).fit(self.rows)
        scored = fitted.stages[1].setTask("score").setLogLikelihoodCol("score")
        with tempfile.TemporaryDirectory() as folder:
            self.estimator(seed=5).save(f"{folder}/estimator")
            self.assertEqual(5, brazier.CausalLM.load(f"{folder}/estimator").getSeed())
            scored.save(f"{folder}/model")
            fitted.save(f"{folder}/pipeline")
            expected = self.scores(scored)
            self.assertEqual(expected, self.scores(brazier.CausalLMModel.load(f"{folder}/model")))
            self.assertEqual(expected, self.scores(PipelineModel.load(f"{folder}/pipeline")))

    def test_hugging_face_layout_goes_out_and_comes_in(self):
        model = self.estimator().fit(self.rows).setTask("score").setLogLikelihoodCol("score")
        with tempfile.TemporaryDirectory() as folder:
            model.exportTo(folder)
            again = brazier.CausalLMModel.fromHuggingFace(folder).setTask("score").setLogLikelihoodCol("score")
            self.assertEqual(self.scores(model), self.scores(again))

    def test_a_model_is_shared_as_it_is_told_and_not_as_it_was_trained(self):
        model = self.estimator(numWorkers=2, tensorParallel=2).fit(self.rows).setTask("score").setLogLikelihoodCol("score")
        self.assertEqual((1, 1), (model.getTensorParallel(), model._java_obj.getTensorParallel()))
        whole = self.scores(model)
        for score, shared in zip(whole, self.scores(model.setPipelineParallel(2)), strict=True):
            self.assertAlmostEqual(score, shared, delta=1e-5 * abs(score))

    def test_texts_that_stop_are_a_list(self):
        self.assertEqual([], self.estimator().getStop())
        self.assertEqual(["."], self.estimator(stop=["."]).getStop())
        with self.assertRaises(TypeError):
            self.estimator(stop=".")

    def scores(self, model):
        return [row.score for row in model.transform(self.rows.limit(4)).collect()]


if __name__ == "__main__":
    unittest.main()
