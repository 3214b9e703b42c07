//! Write and check agree, and nothing dangerous passes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn form(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out).unwrap();
    out
}

#[test]
fn the_form_is_as_documented() {
    let value = json!({"b": [1, -2, true, null, {}], "a": "x\u{1b}[2J\n\u{202e}é\u{85}\u{7f}\"\\😀", "ä": 0, "z": []});
    let text = String::from_utf8(form(&value)).unwrap();
    let a = r#""a":"x\u001b[2J\u000a\u202e\u00e9\u0085\u007f\"\\\ud83d\ude00""#;
    assert_eq!(text, format!(r#"{{{a},"b":[1,-2,true,null,{{}}],"z":[],"\u00e4":0}}"#));
    assert_eq!(check(text.as_bytes()), Ok(()));
}

#[test]
fn what_has_a_second_spelling_is_refused() {
    for wrong in [
        r#"{"b":1,"a":2}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a": 1}"#,
        r#"{"a":1.0}"#,
        r#"{"a":1e3}"#,
        r#"{"a":01}"#,
        r#"{"a":-0}"#,
        r#"{"a":18446744073709551616}"#,
        r#""\n""#,
        r#""\u0041""#,
        r#""\u00E9""#,
        r#""\/""#,
        r#""\ud83d""#,
        r#""\ude00\ud83d""#,
        "\"é\"",
        "\"\u{7f}\"",
        "\"\t\"",
        "\"a",
        "{\"a\":1}\n",
        "nul",
        "",
        r#"{"a"}"#,
        "[1,]",
    ] {
        assert!(check(wrong.as_bytes()).is_err(), "{wrong:?} passed");
    }
    let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
    assert!(check(deep.as_bytes()).is_err());
    assert_eq!(write(&json!(0.5), &mut Vec::new()), Err(Unwritable::Number("0.5".into())));
}

#[test]
fn members_come_with_their_bytes() {
    let mut seen = Vec::new();
    members(br#"{"a":[1,{"x":2}],"seq":7}"#, |m| seen.push((m.key, m.value))).unwrap();
    assert_eq!(seen, [(&b"a"[..], &br#"[1,{"x":2}]"#[..]), (b"seq", b"7")]);
    assert!(members(b"[1]", |_| {}).is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_has_one_form_of_printable_ascii(value in any_value()) {
        let bytes = form(&value);
        prop_assert!(bytes.iter().all(|byte| (0x20..=0x7e).contains(byte)));
        prop_assert_eq!(check(&bytes), Ok(()));
        prop_assert_eq!(&serde_json::from_slice::<Value>(&bytes).unwrap(), &value);
    }

    #[test]
    fn what_passes_is_what_would_be_written(bytes in "[\\[\\]{}:,\"a-b0-1\\\\ue\\-]{0,12}") {
        if check(bytes.as_bytes()).is_ok() {
            let value: Value = serde_json::from_str(&bytes).unwrap();
            prop_assert_eq!(form(&value), bytes.into_bytes());
        }
    }
}
