package io.brazier.optim;

/**
 * Settings of AdamW and of the clip before it; the rate comes with each step.
 *
 * @param weightDecay decoupled decay of matrices (biases and norms have none)
 * @param maxGradientNorm clip of the global norm; 0 switches clipping off
 */
public record AdamWSettings(double beta1, double beta2, double epsilon, double weightDecay, double maxGradientNorm) {

    /** Added to the norm before the division, as torch.nn.utils.clip_grad_norm_ does. */
    private static final double CLIP_EPSILON = 1e-6;

    /** Operand of {@link io.brazier.program.Optimizer.AdamW} for a step (from 0) whose gradients have this global norm. */
    public double[] scalars(long step, double learningRate, double gradientNorm) {
        double gradientScale = maxGradientNorm > 0 ? Math.min(1, maxGradientNorm / (gradientNorm + CLIP_EPSILON)) : 1;
        return new double[] {
            learningRate,
            beta1,
            beta2,
            epsilon,
            gradientScale,
            1 / (1 - Math.pow(beta1, step + 1)),
            1 / (1 - Math.pow(beta2, step + 1))
        };
    }
}
