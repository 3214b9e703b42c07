//! What Node 20.20, 22.23, 24.12 and 25.8 wrote, byte for byte the same in all four.

use super::super::{Frames, HandleType, Kind, Serialization};

const JSON: &[u8] = include_bytes!("golden/fork.json.txt");
const ADVANCED: &str = include_str!("golden/fork.advanced.hex");

fn advanced() -> Vec<u8> {
    let digits: Vec<u8> = ADVANCED.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn kinds(serialization: Serialization, bytes: &[u8]) -> (Vec<Kind>, Vec<Option<u32>>) {
    let mut frames = Frames::new(serialization);
    frames.push(bytes, [1, 2]);
    let all: Vec<_> =
        std::iter::from_fn(|| frames.next_frame()).map(|frame| frame.unwrap()).collect();
    assert_eq!(frames.rest(), b"");
    (
        all.iter().map(|f| f.kind).collect(),
        all.iter().filter(|f| f.kind == Kind::Handle).map(|f| f.handle).collect(),
    )
}

#[test]
fn a_json_stream_of_node_is_understood() {
    let (kinds, handles) = kinds(Serialization::Json, JSON);
    let expected = [
        Kind::User,
        Kind::User,
        Kind::User,
        Kind::User,
        // `NODE_` alone is a user's.
        Kind::User,
        Kind::Internal,
        Kind::User,
        Kind::Handle,
        Kind::Handle,
        Kind::User,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(handles, [Some(1), Some(2)]);
}

#[test]
fn an_advanced_stream_of_node_is_understood() {
    let (kinds, handles) = kinds(Serialization::Advanced, &advanced());
    let mut expected = vec![Kind::User; 10];
    (expected[7], expected[8]) = (Kind::Handle, Kind::Handle);
    // `cmd` of the sixth is not its first property: user code's, and passed on as it is.
    assert_eq!(kinds, expected);
    assert_eq!(handles, [Some(1), Some(2)]);
}

#[test]
fn types_have_nodes_names() {
    for name in [
        "net.Server",
        "net.Socket",
        "net.Native",
        "dgram.Socket",
        "dgram.Native",
        "net.BoundSocket",
    ] {
        assert_eq!(HandleType::from_node(name).map(HandleType::as_str), Some(name));
    }
    assert_eq!(HandleType::from_node("tty.Native"), None);
}

#[test]
fn buns_prefix_is_taken_off() {
    let mut frames = Frames::<u32>::new(Serialization::Json);
    frames.push(b"\x02{\"cmd\":\"NODE_CLUSTER\",\"act\":\"online\",\"seq\":0}\n", []);
    let frame = frames.next_frame().unwrap().unwrap();
    assert_eq!((frame.kind, frame.body[0]), (Kind::Cluster, b'{'));
}
