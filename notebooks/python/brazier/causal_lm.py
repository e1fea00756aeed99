"""GPT-style language models: the estimator, its model and what a training run tells about itself."""
import sys

from pyspark import SparkContext
from pyspark.ml.wrapper import JavaEstimator, JavaModel

from brazier.stage import JAVA_PACKAGE, Stage


class CausalLM(Stage, JavaEstimator):
    """Trains a GPT on a column of text, or goes on with a trained one (`initialModel`). `explainParams()` lists its params."""

    def __init__(self, **params):
        super().__init__()
        self._java_obj = self._new_java_obj(f"{JAVA_PACKAGE}.CausalLM", self.uid)
        self._create_params_from_java()
        self.setParams(**params)

    def explain(self, table):
        """The physical plan of `fit` as text, before anything is booked; `explainJson` is the same for programs."""
        self._transfer_params_to_java()
        return self._java_obj.explain(table._jdf)

    def explainJson(self, table):
        self._transfer_params_to_java()
        return self._java_obj.explainJson(table._jdf)

    def _create_model(self, java_model):
        return CausalLMModel(java_model)

    def _fit(self, table):
        model = super()._fit(table)
        for param in (model.tensorParallel, model.pipelineParallel, model.device):
            model.clear(param)  # how it was trained does not say how it is used
        return model


class CausalLMModel(Stage, JavaModel):
    """A trained model: `transform` continues texts or scores them, by the param `task`. A saved model that one executor cannot hold
    is shared by `tensorParallel` times `pipelineParallel` ranks."""

    @classmethod
    def fromHuggingFace(cls, directory):
        """A model from a directory in Hugging Face layout, on any file system that Spark's driver reads."""
        jvm = SparkContext._active_spark_context._jvm
        return cls(getattr(jvm, f"{JAVA_PACKAGE}.CausalLMModel").fromHuggingFace(str(directory)))

    def exportTo(self, directory):
        """Copies the model's files, in Hugging Face layout, to a directory."""
        self._java_obj.exportTo(str(directory), SparkContext._active_spark_context._jsc.hadoopConfiguration())

    @property
    def summary(self):
        """What happened during training; only a model that `fit` has just made has one."""
        return CausalLMSummary(self._java_obj.summary())


class CausalLMSummary:
    """Losses are in nats per token, times in seconds."""

    def __init__(self, java_summary):
        self._java = java_summary

    @property
    def lossHistory(self):
        """The training loss of each step, as a list."""
        return list(self._java.lossHistory())

    @property
    def history(self):
        """A pandas DataFrame with one row a step."""
        return _frame(self._java.steps(), "step", "loss", "gradientNorm", "learningRate", "tokens", "seconds")

    @property
    def evaluations(self):
        """A pandas DataFrame with one row for each measurement on the validation split."""
        return _frame(self._java.evaluations(), "step", "loss", "perplexity")

    def __getattr__(self, name):
        if name not in ("numSteps", "validationLoss", "validationPerplexity", "tokensPerSecond", "modelFlopsUtilization",
                        "trainingSeconds", "device", "numRestarts"):
            raise AttributeError(f"CausalLMSummary has no attribute {name}")
        return getattr(self._java, name)()


def _frame(java_records, *fields):
    import pandas  # here, because it is needed for nothing else

    return pandas.DataFrame([[getattr(record, field)() for field in fields] for record in java_records], columns=fields)


# Pipelines that are loaded look for a stage's Python class in the module that is named like its Java package.
sys.modules[JAVA_PACKAGE] = sys.modules[__name__]
