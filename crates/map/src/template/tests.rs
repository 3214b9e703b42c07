use proptest::prelude::*;

use super::*;

fn bytes(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn made(words: &[&str], many: Many, values: &[&str]) -> Vec<String> {
    let template = Template::new(&bytes(words), &bytes(&["x", "y"]), b"{}", many).unwrap();
    let values = bytes(values);
    let words = template.with_values().words(Given { values: &values, seq: 7, slot: 2 });
    words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
}

#[test]
fn marks_stand_for_values() {
    let words = Many::Words;
    assert_eq!(made(&["cp", "{}", "{/.}.{#}.{%}"], words, &["a/b.c"]), ["cp", "a/b.c", "b.7.2"]);
    assert_eq!(made(&["echo"], words, &["a b"]), ["echo", "a b"]);
    assert_eq!(made(&["echo", "{2}{1.}{-1}"], words, &["a.b", "c"]), ["echo", "cac"]);
    assert_eq!(made(&["echo", "{y}-{x/}"], words, &["a/b", "c"]), ["echo", "c-b"]);
    assert_eq!(made(&["echo", "[{3}]"], words, &["a"]), ["echo", "[]"]);
    assert_eq!(made(&["echo", "{z}", "{", "{}"], words, &["a"]), ["echo", "{z}", "{", "a"]);
}

#[test]
fn several_values_part_words_or_repeat_them() {
    assert_eq!(made(&["p-{}-q"], Many::Words, &["a", "b"]), ["p-a", "b-q"]);
    assert_eq!(made(&["{}={}"], Many::Words, &["a", "c"]), ["a", "c=a", "c"]);
    assert_eq!(made(&["p-{}-q", "r"], Many::Context, &["a", "b"]), ["p-a-q", "p-b-q", "r"]);
}

#[test]
fn another_mark_and_perl() {
    let read = |word: &str, mark: &[u8]| Template::new(&bytes(&[word]), &[], mark, Many::Words);
    let values = bytes(&["v"]);
    let given = Given { values: &values, seq: 1, slot: 1 };
    assert_eq!(read("_{}", b"_").unwrap().words(given), bytes(&["v{}"]));
    assert!(matches!(read("{= s/a/b/ =}", b"{}"), Err(TemplateError::Perl(_))));
    assert_eq!(Template::new(&[], &[], b"{}", Many::Words), Err(TemplateError::Empty));
}

proptest! {
    /// Nothing in a value is ever read: each word stays one argument, and a shell gives the same back.
    #[test]
    fn values_are_never_read(value in prop::collection::vec(1..=255u8, 0..20)) {
        let template = Template::new(&bytes(&["a{}b", "{}", "{1}"]), &[], b"{}", Many::Words).unwrap();
        let values = [value.clone()];
        let given = Given { values: &values, seq: 1, slot: 1 };
        let embedded = [b"a".as_slice(), &value, b"b"].concat();
        let expected = vec![embedded, value.clone(), value];
        prop_assert_eq!(template.words(given), expected.clone());
        prop_assert_eq!(shlex::bytes::split(&template.shell(given)), Some(expected));
    }
}
