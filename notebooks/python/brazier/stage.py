"""What the wrappers of all Brazier stages share: params taken from the Java object, and persistence."""
import difflib

from py4j.java_collections import JavaArray
from pyspark.ml.param import Param, TypeConverters
from pyspark.ml.util import JavaMLReadable, JavaMLReader, JavaMLWritable

JAVA_PACKAGE = "io.brazier.spark.ml"

CONVERTERS = {
    "IntParam": TypeConverters.toInt,
    "LongParam": TypeConverters.toInt,
    "DoubleParam": TypeConverters.toFloat,
    "BooleanParam": TypeConverters.toBoolean,
    "StringArrayParam": TypeConverters.toListString,
}


class Stage(JavaMLReadable, JavaMLWritable):
    """A Java stage seen from Python. Its params, their documentation and their defaults are read from the Java object, so they
    are written down once. They are set by keyword (`setParams(numSteps=300)`) or, as in MLlib, by `setNumSteps(300)`."""

    def _create_params_from_java(self):
        for java_param in self._java_obj.params():
            name = java_param.name()
            # A param of type String has the class Param itself, and any text is fine.
            converter = CONVERTERS.get(java_param.getClass().getSimpleName(), TypeConverters.toString)
            setattr(self, name, Param(self, name, java_param.doc(), converter))
        self._params = None  # what Params remembers of an earlier look
        self._transfer_params_from_java()
        for param, default in list(self._defaultParamMap.items()):
            if isinstance(default, JavaArray):  # MLlib leaves it as it is
                self._setDefault(**{param.name: list(default)})

    def setParams(self, **params):
        for name in params:
            if not self.hasParam(name):
                near = difflib.get_close_matches(name, [p.name for p in self.params], n=1)
                hint = f"did you mean {near[0]}?" if near else "explainParams() lists them"
                raise TypeError(f"{type(self).__name__} has no param {name}: {hint}")
        return self._set(**params)

    def __getattr__(self, name):
        param = name[3:4].lower() + name[4:]
        if isinstance(self.__dict__.get(param), Param):
            if name.startswith("set"):
                return lambda value: self.setParams(**{param: value})
            if name.startswith("get"):
                return lambda: self.getOrDefault(param)
        raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    def __dir__(self):
        names = [key for key, value in self.__dict__.items() if isinstance(value, Param)]
        return [*super().__dir__(), *(prefix + name[0].upper() + name[1:] for name in names for prefix in ("set", "get"))]

    @classmethod
    def read(cls):
        return Reader(cls)


class Reader(JavaMLReader):
    @classmethod
    def _java_loader_class(cls, clazz):
        return f"{JAVA_PACKAGE}.{clazz.__name__}"
