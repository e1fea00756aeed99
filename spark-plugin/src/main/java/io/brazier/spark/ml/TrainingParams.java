package io.brazier.spark.ml;

import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.LongParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** How training runs; see TrainingConfig for units. */
public interface TrainingParams<T> extends Params {

    /** Bytes, characters, gpt2, or the path of a Hugging Face tokenizer.json. */
    default Param<String> tokenizer() {
        return Declare.stringParam(
                this, "tokenizer", "bytes, characters, gpt2, or the path of a Hugging Face tokenizer.json");
    }

    default String getTokenizer() {
        return getOrDefault(tokenizer());
    }

    @SuppressWarnings("unchecked")
    default T setTokenizer(String value) {
        return (T) set(tokenizer(), value);
    }

    /** Text that ends every row. */
    default Param<String> rowSeparator() {
        return Declare.stringParam(this, "rowSeparator", "text that ends every row");
    }

    default String getRowSeparator() {
        return getOrDefault(rowSeparator());
    }

    @SuppressWarnings("unchecked")
    default T setRowSeparator(String value) {
        return (T) set(rowSeparator(), value);
    }

    /** What a null row does: error or skip. */
    default Param<String> handleInvalid() {
        return Declare.stringParam(this, "handleInvalid", "what a null row does: error or skip", "error", "skip");
    }

    default String getHandleInvalid() {
        return getOrDefault(handleInvalid());
    }

    @SuppressWarnings("unchecked")
    default T setHandleInvalid(String value) {
        return (T) set(handleInvalid(), value);
    }

    /** Share of the samples kept for validation, in [0, 1). */
    default DoubleParam validationFraction() {
        return Declare.doubleParam(
                this, "validationFraction", "share of the samples kept for validation, in [0, 1)", 0, 1);
    }

    default double getValidationFraction() {
        return (Double) getOrDefault(validationFraction());
    }

    @SuppressWarnings("unchecked")
    default T setValidationFraction(double value) {
        return (T) set(validationFraction(), value);
    }

    /** Ranks, one barrier task each. */
    default IntParam numWorkers() {
        return Declare.intParam(this, "numWorkers", "ranks, one barrier task each", 1);
    }

    default int getNumWorkers() {
        return (Integer) getOrDefault(numWorkers());
    }

    @SuppressWarnings("unchecked")
    default T setNumWorkers(int value) {
        return (T) set(numWorkers(), value);
    }

    /** Tokens of a sample. */
    default IntParam sequenceLength() {
        return Declare.intParam(this, "sequenceLength", "tokens of a sample", 1);
    }

    default int getSequenceLength() {
        return (Integer) getOrDefault(sequenceLength());
    }

    @SuppressWarnings("unchecked")
    default T setSequenceLength(int value) {
        return (T) set(sequenceLength(), value);
    }

    /** Samples of an optimizer step, over all ranks and micro-batches. */
    default IntParam batchSize() {
        return Declare.intParam(this, "batchSize", "samples of an optimizer step, over all ranks and micro-batches", 1);
    }

    default int getBatchSize() {
        return (Integer) getOrDefault(batchSize());
    }

    @SuppressWarnings("unchecked")
    default T setBatchSize(int value) {
        return (T) set(batchSize(), value);
    }

    /** Micro-batches an optimizer step is accumulated from, on each rank. */
    default IntParam numMicroBatches() {
        return Declare.intParam(
                this, "numMicroBatches", "micro-batches an optimizer step is accumulated from, on each rank", 1);
    }

    default int getNumMicroBatches() {
        return (Integer) getOrDefault(numMicroBatches());
    }

    @SuppressWarnings("unchecked")
    default T setNumMicroBatches(int value) {
        return (T) set(numMicroBatches(), value);
    }

    /** Optimizer steps. */
    default LongParam numSteps() {
        return Declare.longParam(this, "numSteps", "optimizer steps", 1);
    }

    default long getNumSteps() {
        return (Long) getOrDefault(numSteps());
    }

    @SuppressWarnings("unchecked")
    default T setNumSteps(long value) {
        return (T) set(numSteps(), value);
    }

    /** Evaluations without improvement before training stops early; 0 = never. */
    default IntParam patience() {
        return Declare.intParam(
                this, "patience", "evaluations without improvement before training stops early; 0 = never", 0);
    }

    default int getPatience() {
        return (Integer) getOrDefault(patience());
    }

    @SuppressWarnings("unchecked")
    default T setPatience(int value) {
        return (T) set(patience(), value);
    }

    /** Steps between evaluations; 0 = only at the end. */
    default LongParam evaluationInterval() {
        return Declare.longParam(this, "evaluationInterval", "steps between evaluations; 0 = only at the end", 0);
    }

    default long getEvaluationInterval() {
        return (Long) getOrDefault(evaluationInterval());
    }

    @SuppressWarnings("unchecked")
    default T setEvaluationInterval(long value) {
        return (T) set(evaluationInterval(), value);
    }

    /** Directory of checkpoints that driver and executors see; empty = none. */
    default Param<String> checkpointDir() {
        return Declare.stringParam(
                this, "checkpointDir", "directory of checkpoints that driver and executors see; empty = none");
    }

    default String getCheckpointDir() {
        return getOrDefault(checkpointDir());
    }

    @SuppressWarnings("unchecked")
    default T setCheckpointDir(String value) {
        return (T) set(checkpointDir(), value);
    }

    /** Steps between checkpoints; 0 = only at the end. */
    default LongParam checkpointInterval() {
        return Declare.longParam(this, "checkpointInterval", "steps between checkpoints; 0 = only at the end", 0);
    }

    default long getCheckpointInterval() {
        return (Long) getOrDefault(checkpointInterval());
    }

    @SuppressWarnings("unchecked")
    default T setCheckpointInterval(long value) {
        return (T) set(checkpointInterval(), value);
    }

    /** Auto = from the last checkpoint if there is one, never, or the directory of a checkpoint. */
    default Param<String> resume() {
        return Declare.stringParam(
                this,
                "resume",
                "auto = from the last checkpoint if there is one, never, or the directory of a checkpoint");
    }

    default String getResume() {
        return getOrDefault(resume());
    }

    @SuppressWarnings("unchecked")
    default T setResume(String value) {
        return (T) set(resume(), value);
    }

    /** Failures of the job that are retried from the last checkpoint. */
    default IntParam maxFailures() {
        return Declare.intParam(
                this, "maxFailures", "failures of the job that are retried from the last checkpoint", 0);
    }

    default int getMaxFailures() {
        return (Integer) getOrDefault(maxFailures());
    }

    @SuppressWarnings("unchecked")
    default T setMaxFailures(int value) {
        return (T) set(maxFailures(), value);
    }
}
