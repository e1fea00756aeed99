package io.brazier.plan;

import io.brazier.nn.Model;
import io.brazier.nn.ParameterSpec;
import io.brazier.nn.RankView;
import io.brazier.nn.Unit;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Cuts a rank's parameters into units: the parameters of a piece that are reduced over the same ranks; vocabulary tables alone. */
final class Units {
    private Units() {}

    /** Units of some pieces, in the order in which forward uses them; inside a unit what {@link Kind} equates lies together. */
    static List<Unit> of(Model model, List<Integer> pieces, RankView view) {
        Map<String, Unit> units = new LinkedHashMap<>();
        List<ParameterSpec> seen = new ArrayList<>();
        for (int piece : pieces) {
            Map<String, List<ParameterSpec>> members = new LinkedHashMap<>();
            for (ParameterSpec spec : model.parameters(piece)) {
                if (!seen.contains(spec)) {
                    seen.add(spec);
                    members.computeIfAbsent(name(model, piece, spec, view), k -> new ArrayList<>())
                            .add(spec);
                }
            }
            members.forEach((name, specs) -> {
                Group group = view.dataGroup(specs.get(0));
                specs.sort(Comparator.comparing(spec -> Kind.of(spec, view)));
                units.put(name, new Unit(name, group, specs));
            });
        }
        return List.copyOf(units.values());
    }

    private static String name(Model model, int piece, ParameterSpec spec, RankView view) {
        boolean table = spec.isCut(Axis.TP) && (piece == 0 || piece == model.numPieces() - 1);
        String base = table ? "table " + spec.name() : "piece " + piece;
        return base + (view.dataGroup(spec).equals(view.mesh().group(Axis.DP, Axis.CP, Axis.EP)) ? "" : " experts");
    }

    /**
     * How a parameter is updated and its gradient counted.
     *
     * @param decays whether weight decay applies
     * @param cut whether tp ranks hold different parts
     * @param besideSequence whether its gradient is still to be summed over tp
     */
    record Kind(boolean decays, boolean cut, boolean besideSequence) implements Comparable<Kind> {
        static Kind of(ParameterSpec spec, RankView view) {
            return new Kind(
                    spec.decays(),
                    spec.isCut(Axis.TP) && view.size(Axis.TP) > 1,
                    spec.besideSequence() && view.splitsSequence());
        }

        @Override
        public int compareTo(Kind other) {
            return Comparator.comparing((Kind k) -> !k.decays)
                    .thenComparing(k -> !k.cut)
                    .thenComparing(k -> k.besideSequence)
                    .compare(this, other);
        }
    }
}
