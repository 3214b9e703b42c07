//! Conditions: what they mean, and what is said about those that mean nothing.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::values::{Object, Read, Time, Values};

/// Values by the text of the metric; a finding by `finding:NAME`.
struct Fixed(HashMap<&'static str, f64>);

impl Values for Fixed {
    fn objects(&self, _: &Selector, _: Time) -> Vec<Object> {
        Vec::new()
    }

    fn value(&self, object: &Object, query: &Query, _: Time) -> Option<f64> {
        let at = format!("{}@{object}", query.metric);
        self.0.get(at.as_str()).or_else(|| self.0.get(query.metric.as_str())).copied()
    }

    fn finding(&self, _: &Object, detector: &str, _: Time) -> Option<f64> {
        self.0.get(format!("finding:{detector}").as_str()).copied()
    }
}

fn says(text: &str) -> Truth {
    let values = Fixed(HashMap::from([
        ("cpu", 0.9),
        ("rss", (600u64 << 20) as f64),
        ("latency", 2.5),
        ("errors", 0.0),
        ("zero", 0.0),
        ("depth@queue:images", 7.0),
        ("finding:leak", 0.7),
        ("finding:spike", 0.0),
    ]));
    let expr = Expr::parse(text).unwrap_or_else(|e| panic!("{}", e.drawn(text)));
    expr.verdict(&Object::new("service", "web"), &values, 0).truth
}

#[test]
fn what_conditions_mean() {
    use Truth::{False, Missing, True};
    for (text, truth) in [
        ("cpu > 80%", True),
        ("rss > 512MiB", True),
        ("rss > 1GiB", False),
        ("p95(latency, 5m) > 2s", True),
        ("rate(errors, 1m) == 0", True),
        ("latency > 2s and not rss > 1GiB", True),
        ("cpu > 1 or cpu < 0.5 or latency >= 2500ms", True),
        ("rss / 2 + 100MiB > 400MiB", False),
        ("-latency < -2", True),
        ("2 + 3 * 4 == 14 and (2 + 3) * 4 == 20 and 10 - 4 - 3 == 3", True),
        ("finding(leak)", True),
        ("finding(leak) > 0.8", False),
        ("finding(spike) or finding(stall)", Missing),
        ("depth{queue:images} > 5", True),
        ("depth > 5", Missing),
        ("nothing > 1", Missing),
        ("nothing > 1 and cpu > 1", False),
        ("nothing > 1 or cpu > 0.5", True),
        ("not nothing > 1", Missing),
        ("1 / zero > 0", Missing),
    ] {
        assert_eq!(says(text), truth, "{text}");
    }
}

#[test]
fn faults_are_shown_where_they_are() {
    let drawn: Vec<String> = [
        "rss > 512MiBs",
        "cpu = 1",
        "cpu",
        "cpu > 1 && rss > 1",
        "p59x(cpu, 5m) > 1",
        "agv(cpu, 5m) > 1",
        "avg(cpu) > 1",
        "avg(cpu, 5) > 1",
        "cpu{service} > 1",
        "cpu{kind='a} > 1",
        "1 < cpu < 2",
        "(cpu > 1",
        "cpu > 1 rss > 2",
        "(cpu > 1) > 2",
        "",
    ]
    .iter()
    .map(|text| Expr::parse(text).unwrap_err().drawn(text))
    .collect();
    insta::assert_snapshot!(drawn.join("\n\n"));
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |n: usize| format!("{}1 > 0{}", "(".repeat(n), ")".repeat(n));
    assert!(Expr::parse(&nested(DEPTH_MAX as usize)).is_ok());
    assert!(Expr::parse(&nested(DEPTH_MAX as usize + 1)).is_err());
    assert!(Expr::parse(&"not ".repeat(1_000)).is_err());
    assert!(Expr::parse(&format!("1{} > 0", " + 1".repeat(500))).is_err());
    assert!(Expr::parse(&format!("cpu > 1{}", " ".repeat(TEXT_MAX))).is_err());
}

#[test]
fn windows_quantiles_and_labels_reach_the_query() {
    let text = "p99.9(task_duration{queue:images-2, kind='re size'}, 1h30m) > 2s";
    let expr = Expr::parse(text).unwrap();
    let Node::Compared(_, left, _) = &expr.root else { panic!("{expr:?}") };
    let Node::Value(query, Some(selector)) = &**left else { panic!("{left:?}") };
    assert_eq!(selector.to_string(), "queue:images-2");
    assert_eq!(query.labels["kind"], "re size");
    assert_eq!(query.range, Some(std::time::Duration::from_secs(5_400)));
    assert!(matches!(query.read, Read::Quantile(q) if (q - 0.999).abs() < 1e-9));
    assert_eq!(show::node(left), text.split(" > ").next().unwrap());
}

#[test]
fn numbers_for_people() {
    for (value, unit, text) in [
        (612.4 * 1_048_576.0, Unit::Bytes, "612 MiB"),
        (2.414, Unit::Seconds, "2.41 s"),
        (0.0423, Unit::Seconds, "42.3 ms"),
        (5_400.0, Unit::Seconds, "1h30m"),
        (0.932, Unit::Ratio, "93.2 %"),
        (17.0, Unit::Plain, "17"),
        (0.0, Unit::Bytes, "0 B"),
    ] {
        assert_eq!(number(value, unit), text);
    }
}

proptest! {
    /// No text makes the parser panic, and a fault lies within the text, on borders of characters.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9_.%(){},:='\"<>+*/ é-]{0,60}") {
        if let Err(e) = Expr::parse(&text) {
            prop_assert!(text.get(e.span.clone()).is_some(), "{:?} {}", e.span, text);
            prop_assert!(!e.drawn(&text).is_empty());
        }
    }

    /// `and`, `or` and `not` agree with the least and greatest of three values, false < missing < true.
    #[test]
    fn kleene(parts in prop::collection::vec(0u8..3, 1..6), all in any::<bool>(), not in any::<bool>()) {
        let texts: Vec<&str> = parts.iter().map(|p| ["cpu > 1", "gone > 1", "cpu > 0"][*p as usize]).collect();
        let joined = texts.join(if all { " and " } else { " or " });
        let found = if all { parts.iter().min() } else { parts.iter().max() };
        let mut rank = *found.unwrap();
        let text = if not { rank = 2 - rank; format!("not ({joined})") } else { joined };
        let truth = [Truth::False, Truth::Missing, Truth::True][rank as usize];
        prop_assert_eq!(says(&text), truth);
    }
}
