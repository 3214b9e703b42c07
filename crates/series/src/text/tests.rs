use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

/// One family of each kind, with everything in it that needs care.
fn all(format: Format) -> String {
    let mut text = String::from("of the scrape before");
    let mut to = Encoder::new(&mut text, format);
    to.family(&Family::new("g_tasks_total", Type::Counter, "Tasks \"pushed\"\nto \\ a queue"));
    to.sample(&[("queue", "a\"b\\c\nd"), ("0 odd-name", "ü")], 7u64);
    to.sample(&[], u64::MAX);
    to.family(&Family::new("g_memory_bytes", Type::Gauge, "Memory").unit("bytes"));
    to.sample(&[("slot", "0")], -3i64);
    to.sample(&[("slot", "1")], f64::NEG_INFINITY);
    to.sample(&[("slot", "2")], 0.25);
    to.sample(&[("slot", "3")], true);
    to.family(&Family::new("g_wait_seconds", Type::Histogram, "Waits").unit("seconds"));
    to.histogram(&[("queue", "x")], [(0.5, 2), (1.0, 0), (f64::INFINITY, 3)], 9.5, 5);
    to.family(&Family::new("g_cpu_ratio", Type::Summary, "CPU").unit("bytes"));
    to.summary(&[], [(0.5, 0.1), (1.0, f64::NAN)], 3.0, 4);
    to.family(&Family::new("g_build", Type::Info, "Version"));
    to.sample(&[("version", "1")], 1u64);
    to.family(&Family::new("9 strange", Type::Unknown, ""));
    to.sample(&[], 1u32);
    to.finish();
    text
}

#[test]
fn prometheus_text() {
    let expected = r#"# HELP g_tasks_total Tasks "pushed"\nto \\ a queue
# TYPE g_tasks_total counter
g_tasks_total{queue="a\"b\\c\nd",_0_odd_name="ü"} 7
g_tasks_total 18446744073709551615
# HELP g_memory_bytes Memory
# TYPE g_memory_bytes gauge
g_memory_bytes{slot="0"} -3
g_memory_bytes{slot="1"} -Inf
g_memory_bytes{slot="2"} 0.25
g_memory_bytes{slot="3"} 1
# HELP g_wait_seconds Waits
# TYPE g_wait_seconds histogram
g_wait_seconds_bucket{queue="x",le="0.5"} 2
g_wait_seconds_bucket{queue="x",le="1"} 2
g_wait_seconds_bucket{queue="x",le="+Inf"} 5
g_wait_seconds_sum{queue="x"} 9.5
g_wait_seconds_count{queue="x"} 5
# HELP g_cpu_ratio CPU
# TYPE g_cpu_ratio summary
g_cpu_ratio{quantile="0.5"} 0.1
g_cpu_ratio{quantile="1"} NaN
g_cpu_ratio_sum 3
g_cpu_ratio_count 4
# HELP g_build_info Version
# TYPE g_build_info gauge
g_build_info{version="1"} 1
# HELP _9_strange 
# TYPE _9_strange untyped
_9_strange 1
"#;
    assert_eq!(all(Format::Prometheus), expected);
}

#[test]
fn open_metrics_text() {
    let text = all(Format::OpenMetrics);
    for line in [
        "# HELP g_tasks Tasks \\\"pushed\\\"\\nto \\\\ a queue",
        "# TYPE g_tasks counter",
        "g_tasks_total 18446744073709551615",
        "# UNIT g_memory_bytes bytes",
        "g_wait_seconds_bucket{queue=\"x\",le=\"1.0\"} 2",
        "# TYPE g_build info",
        "g_build_info{version=\"1\"} 1",
        "# TYPE _9_strange unknown",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("# UNIT g_cpu_ratio"), "the unit is not in the name");
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn the_client_says_which() {
    // Prometheus 2.42 and 3, curl, a browser.
    for (accept, format) in [
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        ("*/*", Format::Prometheus),
        ("", Format::Prometheus),
        ("text/html,*/*;q=0.8", Format::Prometheus),
        ("text/plain;q=0.9,application/openmetrics-text;q=0.1", Format::Prometheus),
        ("application/openmetrics-text;version=2.0.0", Format::Prometheus),
        ("application/openmetrics-text;q=0", Format::Prometheus),
    ] {
        assert_eq!(Format::of_accept(accept), format, "{accept}");
    }
}

#[test]
fn the_buffer_is_used_again() {
    let mut text = String::new();
    let write = |text: &mut String| {
        let mut to = Encoder::new(text, Format::Prometheus);
        to.family(&Family::new("a", Type::Gauge, "b"));
        for n in 0..1_000u64 {
            to.sample(&[("n", "x")], n);
        }
        to.finish();
    };
    write(&mut text);
    let (len, room) = (text.len(), text.capacity());
    write(&mut text);
    assert_eq!((text.len(), text.capacity()), (len, room));
}

/// The outside judge, where Debian's package prometheus is installed.
#[test]
fn promtool_has_nothing_to_say() {
    let mut text = String::new();
    let mut to = Encoder::new(&mut text, Format::Prometheus);
    to.family(&Family::new("g_tasks", Type::Counter, "Tasks \"pushed\"\nto \\ a queue"));
    to.sample(&[("queue", "a\"b\\c\nd")], 7u64);
    to.family(&Family::new("g_memory_bytes", Type::Gauge, "Memory").unit("bytes"));
    to.sample(&[("slot", "0")], -3i64);
    to.family(&Family::new("g_wait_seconds", Type::Histogram, "Waits").unit("seconds"));
    to.histogram(&[("queue", "x")], [(0.5, 2), (1.0, 0)], 9.5, 5);
    to.family(&Family::new("g_cpu_seconds", Type::Summary, "CPU").unit("seconds"));
    to.summary(&[], [(0.5, 0.1), (1.0, f64::NAN)], 3.0, 4);
    to.family(&Family::new("g_build", Type::Info, "Version"));
    to.sample(&[("version", "1")], 1u64);
    to.finish();
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = spawned else {
        println!("skipped: no promtool (apt-get install prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.trim().is_empty(), "{said}\n{text}");
}
