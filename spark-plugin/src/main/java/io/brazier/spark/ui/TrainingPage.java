package io.brazier.spark.ui;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.List;
import java.util.stream.Stream;
import org.apache.spark.ui.SparkUITab;
import org.apache.spark.ui.UIUtils;
import org.apache.spark.ui.WebUIPage;
import scala.Function0;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.xml.Node;

/**
 * The page of the tab. Spark 3.5 asks for it with a request of package javax and Spark 4 with one of jakarta: the class answers both
 * and reaches the one helper whose signature differs by reflection.
 */
final class TrainingPage extends WebUIPage {
    private final SparkUITab tab;

    TrainingPage(SparkUITab tab) {
        super("");
        this.tab = tab;
    }

    public Seq<Node> render(javax.servlet.http.HttpServletRequest request) {
        return page(request);
    }

    public Seq<Node> render(jakarta.servlet.http.HttpServletRequest request) {
        return page(request);
    }

    @SuppressWarnings("unchecked")
    private Seq<Node> page(Object request) {
        Function0<Seq<Node>> content = () -> {
            Node markup = scala.xml.XML$.MODULE$.loadString(TrainingHtml.of(TrainingRun.latest()));
            return CollectionConverters.asScala(List.of(markup)).toSeq();
        };
        Method header = Stream.of(UIUtils.class.getMethods())
                .filter(method -> method.getName().equals("headerSparkPage"))
                .findFirst()
                .orElseThrow();
        try {
            return (Seq<Node>) header.invoke(null, request, "Training", content, tab, Option.empty(), false, false);
        } catch (IllegalAccessException e) {
            throw new IllegalStateException("Spark's page header cannot be reached", e);
        } catch (InvocationTargetException e) {
            throw new IllegalStateException("Spark's page header failed", e.getCause());
        }
    }
}
