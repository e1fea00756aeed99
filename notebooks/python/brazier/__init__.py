"""Trains neural networks inside Apache Spark.

    import brazier

    spark = brazier.session("local[2]")
    model = brazier.CausalLM(textCol="text", tokenizer="characters", numSteps=300).fit(spark.read.text(path).toDF("text"))
    model.summary.history.plot(x="step", y="loss")
    model.setTask("generate").setOutputCol("story").transform(prompts).show()

All work is done by the Java classes of the Brazier jar, in the JVMs of Spark: no Python runs on executors.
"""
from brazier.causal_lm import CausalLM, CausalLMModel
from brazier.session import find_jar, session

__all__ = ["CausalLM", "CausalLMModel", "find_jar", "session"]
