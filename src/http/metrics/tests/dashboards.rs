//! The dashboard and the rules for alerts in `deploy/` ask for what is declared, in words that Prometheus and Grafana take.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use promql_parser::parser::{self, Expr, VectorSelector};
use serde_json::Value;

use super::*;

/// What a scrape adds to every series.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a service that has seen everything once tells.
fn everything() -> Exposition {
    let metrics = Metrics::default();
    metrics.epoch(true);
    look(&metrics, &status())
}

/// Reads an expression, holds what it asks for against what is told, and returns the labels that it may name.
fn labels_of(expression: &str, told: &Exposition) -> BTreeSet<String> {
    let read = parser::parse(expression).unwrap_or_else(|error| panic!("{error}: {expression}"));
    labels(&read, told, expression)
}

fn labels(expr: &Expr, told: &Exposition, whole: &str) -> BTreeSet<String> {
    let of = |expr: &Expr| labels(expr, told, whole);
    let named = |names: &[String], inside: &BTreeSet<String>| {
        let strange = names.iter().find(|name| !inside.contains(*name));
        assert_eq!(strange, None, "no such label among {inside:?}: {whole}");
    };
    match expr {
        Expr::VectorSelector(selector) => selected(selector, told, whole),
        Expr::MatrixSelector(range) => selected(&range.vs, told, whole),
        Expr::Aggregate(aggregate) => {
            let inside = of(&aggregate.expr);
            let Some(by) = &aggregate.modifier else { return BTreeSet::new() };
            named(&by.labels().labels, &inside);
            by.labels().labels.iter().cloned().collect()
        }
        Expr::Binary(binary) => {
            let (left, right) = (of(&binary.lhs), of(&binary.rhs));
            if let Some(matching) = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()) {
                named(&matching.labels().labels, &left);
                named(&matching.labels().labels, &right);
            }
            if left.is_empty() { right } else { left }
        }
        Expr::Call(call) => {
            let mut inside: BTreeSet<String> = call.args.args.iter().flat_map(|argument| of(argument)).collect();
            if call.func.name == "histogram_quantile" {
                assert!(inside.remove("le"), "a quantile needs the buckets' bounds: {whole}");
            }
            inside
        }
        Expr::Paren(inner) => of(&inner.expr),
        Expr::Unary(inner) => of(&inner.expr),
        Expr::Subquery(inner) => of(&inner.expr),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => BTreeSet::new(),
    }
}

/// The labels of what is selected, of which there must be something.
fn selected(selector: &VectorSelector, told: &Exposition, whole: &str) -> BTreeSet<String> {
    let name = selector.name.as_deref().unwrap_or_else(|| panic!("a selector without a name: {whole}"));
    let scraped = OF_THE_SCRAPE.map(str::to_owned);
    if name == "up" {
        return scraped.into();
    }
    let declared = ALL.iter().any(|metric| match metric.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(metric.name))
        }
        Kind::Counter | Kind::Gauge => metric.name == name,
    });
    assert!(declared, "{name} is not declared: {whole}");
    let matchers = &selector.matchers.matchers;
    let matchers: Vec<_> = matchers.iter().filter(|matcher| !OF_THE_SCRAPE.contains(&&*matcher.name)).collect();
    let samples = told.0.values().flat_map(|family| family.samples.keys()).filter(|(of, _)| of == name);
    let named = |label: &str| samples.clone().any(|(_, labels)| labels.contains_key(label));
    let strange = matchers.iter().find(|matcher| !named(&matcher.name));
    assert!(strange.is_none(), "{name} has no such label: {whole}");
    let fits = |labels: &exposition::Labels| {
        // A label that a series lacks is the empty text.
        let value = |name| labels.get(name).map_or("", String::as_str);
        matchers.iter().all(|matcher| matcher.is_match(value(&matcher.name)))
    };
    let fitting: Vec<_> = samples.map(|(_, labels)| labels).filter(|labels| fits(labels)).collect();
    assert!(!fitting.is_empty(), "{name} is never told with such labels: {whole}");
    fitting.into_iter().flat_map(BTreeMap::keys).cloned().chain(scraped).collect()
}

/// The labels that a template names between double braces, such as `{{ $labels.instance }}`.
fn in_braces(template: &str) -> Vec<&str> {
    template.split("{{").skip(1).map(|rest| rest.split_once("}}").expect("closed").0.trim()).collect()
}

#[test]
fn the_dashboard_asks_for_what_is_told() {
    let told = everything();
    let dashboard: Value = serde_json::from_str(&read("grafana/rgsd.json")).expect("JSON");
    let variables: Vec<_> = dashboard["templating"]["list"].as_array().expect("a list").iter().collect();
    assert_eq!(
        variables.iter().map(|v| v["name"].as_str().expect("a name")).collect::<Vec<_>>(),
        ["datasource", "instance"]
    );
    let panels = dashboard["panels"].as_array().expect("a list");
    assert_eq!((panels[0]["type"].as_str(), panels[0]["title"].as_str()), (Some("row"), Some("Freshness")));
    let mut ids = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: an id of its own");
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} says what it shows");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has a unit");
        for target in panel["targets"].as_array().expect("a list") {
            for source in [&target["datasource"], &panel["datasource"]] {
                assert_eq!(source["uid"], "${datasource}", "{title}");
            }
            let expression = target["expr"].as_str().expect("an expression");
            assert!(
                expression.contains("instance=~\"$instance\""),
                "{title} is for the chosen instances: {expression}"
            );
            let plain = expression.replace("$__rate_interval", "5m").replace("$__range", "1h");
            let labels = labels_of(&plain, &told);
            for label in in_braces(target["legendFormat"].as_str().expect("a legend")) {
                assert!(labels.contains(label), "{title}: {label} is not left by {expression}");
            }
            asked.extend(plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned));
        }
    }
    // Virtual memory tells nobody anything.
    let shown = |metric: &&&Metric| {
        let names = ["", "_bucket", "_sum", "_count"].map(|end| format!("{}{end}", metric.name));
        names.iter().any(|name| asked.contains(name))
            || metric.name.contains("virtual")
            || metric.name.ends_with("threads")
    };
    let hidden: Vec<_> = ALL.iter().filter(|metric| !shown(metric)).map(|metric| metric.name).collect();
    assert_eq!(hidden, ["rgsd_epoch_timestamp_seconds"], "whose age is shown; everything else is");
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    r#for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[test]
fn the_alerts_ask_for_what_is_told() {
    let told = everything();
    let Rules { groups } = serde_saphyr::from_str(&read("prometheus/rgsd-alerts.yml")).expect("YAML");
    assert_eq!(groups.iter().map(|group| &*group.name).collect::<Vec<_>>(), ["rgsd"]);
    let mut names = BTreeSet::new();
    for Rule { alert, expr, r#for, labels, annotations } in groups.into_iter().flat_map(|group| group.rules) {
        assert!(alert.starts_with("Rgsd") && names.insert(alert.clone()), "{alert}");
        let left = labels_of(&expr, &told);
        assert!(left.contains("instance"), "{alert} says which one");
        assert!(humantime::parse_duration(&r#for).is_ok_and(|time| time >= Duration::from_secs(60)), "{alert}");
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["severity"], "{alert}");
        assert!(["critical", "warning", "info"].contains(&&*labels["severity"]), "{alert}");
        assert_eq!(annotations.keys().collect::<Vec<_>>(), ["description", "summary"], "{alert}");
        assert!(annotations["description"].ends_with('.'), "{alert} says what to do, in sentences");
        for text in annotations.values().flat_map(|text| in_braces(text)) {
            let word = text.split(' ').next().expect("a word");
            let label = word.strip_prefix("$labels.");
            assert!(word == "$value" || label.is_some_and(|label| left.contains(label)), "{alert}: {text}");
        }
    }
    for needed in ["SnapshotStale", "NoPeers", "NotReady", "ArchiveDisconnected", "ArchiveLagging", "StorageFull"] {
        assert!(names.contains(&format!("Rgsd{needed}")), "{needed}");
    }
}

#[test]
fn the_example_of_a_scrape_configuration_names_the_rules() {
    let example: Value = serde_saphyr::from_str(&read("prometheus/prometheus.yml")).expect("YAML");
    assert_eq!(example["rule_files"], serde_json::json!(["rgsd-alerts.yml"]));
    assert_eq!(example["scrape_configs"][0]["job_name"], "rgsd", "the rules count on it");
}
