"""A Spark session that has Brazier on its class path."""
import os
from pathlib import Path

from pyspark.sql import SparkSession

JAR = "brazier-spark-plugin-*-all.jar"


def find_jar():
    """Path of the jar with Brazier and its libraries: $BRAZIER_JAR, or the one that a build left in the source tree around this
    package or around the working directory."""
    named = os.environ.get("BRAZIER_JAR")
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"BRAZIER_JAR names {named}, which is no file: set it to the path of a {JAR}")
        return named
    for start in (Path(__file__).resolve(), Path.cwd() / "here"):
        for folder in start.parents:
            jars = sorted(folder.glob(f"spark-plugin/target/{JAR}"))
            if jars:
                return str(jars[-1])
    raise FileNotFoundError(f"no {JAR} was found above {Path.cwd()}: build it (mvn package) or set BRAZIER_JAR to its path")


def session(master="local[*]", conf=None):
    """The running Spark session, or a new one on `master` with Brazier's jar and plugin.

    `conf` maps Spark settings to values and wins over what is set here. A session that already runs is returned only if it has
    Brazier on its class path, because Spark takes jars and plugins when it starts.
    """
    running = SparkSession.getActiveSession()
    if running is None:
        settings = {
            "spark.jars": find_jar(),
            "spark.plugins": "io.brazier.spark.plugin.BrazierPlugin",
            "spark.ui.showConsoleProgress": "false",
            **(conf or {}),
        }
        builder = SparkSession.builder.master(master).appName("Brazier")
        for key, value in settings.items():
            builder = builder.config(key, value)
        return builder.getOrCreate()
    loader = running.sparkContext._jvm.Thread.currentThread().getContextClassLoader()
    if loader.getResource("io/brazier/spark/ml/CausalLM.class") is None:
        raise RuntimeError("a Spark session without Brazier's jar is running: stop it (spark.stop()) and restart Python first")
    return running
