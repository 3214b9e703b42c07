use std::io::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// Records of one file, told by a slow and obvious reading.
fn model(format: &Format, content: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    let mut rest = content;
    match format {
        Format::Paragraphs => {
            let mut paragraph = Vec::new();
            for line in content.split_inclusive(|byte| *byte == b'\n') {
                if line == b"\n" {
                    records.push(std::mem::take(&mut paragraph));
                } else {
                    paragraph.extend_from_slice(line);
                }
            }
            records.push(paragraph);
            records.retain(|record| !record.is_empty());
            return records
                .iter()
                .map(|record| record.strip_suffix(b"\n").unwrap_or(record).to_vec())
                .collect();
        }
        Format::Fixed(length) => {
            return content.chunks(length.get()).map(<[u8]>::to_vec).collect();
        }
        Format::Csv => {
            let (mut record, mut quoted) = (Vec::new(), false);
            for byte in content {
                quoted ^= *byte == b'"';
                if *byte == b'\n' && !quoted {
                    let line: Vec<u8> = std::mem::take(&mut record);
                    records.push(line.strip_suffix(b"\r").unwrap_or(&line).to_vec());
                } else {
                    record.push(*byte);
                }
            }
            if !record.is_empty() {
                records.push(record.strip_suffix(b"\r").unwrap_or(&record).to_vec());
            }
            return records;
        }
        _ => {}
    }
    while !rest.is_empty() {
        let end = rest.windows(delimiter.len()).position(|window| window == delimiter);
        let (record, step) =
            end.map_or((rest, rest.len()), |end| (&rest[..end], end + delimiter.len()));
        records.push(record.to_vec());
        rest = &rest[step..];
    }
    records
}

fn read_all(splits: &Splits) -> Result<Vec<Vec<u8>>, InputError> {
    let mut records = Vec::new();
    let mut buffer = Vec::new();
    for number in 0..splits.count() {
        let mut blocks = Blocks::of_split(splits, splits.get(number).unwrap(), buffer);
        while let Some(block) = blocks.read()? {
            block.each_record(|_, record| {
                records.push(record.to_vec());
                Ok::<(), InputError>(())
            })?;
        }
        buffer = blocks.into_buffer();
    }
    assert!(splits.get(splits.count()).is_none());
    Ok(records)
}

fn write(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn plan(paths: &[PathBuf], format: Format, size: u64) -> Result<Splits, InputError> {
    Splits::plan(Inputs::list(paths)?, format, SplitSize::Bytes(size), 1 << 20)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Forms with a delimiter's bytes, where there is one.
fn forms() -> impl Strategy<Value = (Format, Vec<u8>)> {
    prop_oneof![
        Just((Format::Lines, b"\n".to_vec())),
        Just((Format::Paragraphs, Vec::new())),
        Just((Format::Csv, Vec::new())),
        (1_usize..5).prop_map(|n| (Format::fixed(n).unwrap(), Vec::new())),
        "[ab\n]{1,3}"
            .prop_map(|text| { (Format::delimited(text.as_bytes()).unwrap(), text.into_bytes()) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever the splits, each record is read once and in order, and no record crosses files.
    #[test]
    fn splits_read_every_record_once(
        (format, delimiter) in forms(),
        contents in prop::collection::vec("[ab\n\r\"]{0,24}", 1..4),
        size in 1_u64..30,
        packed in 0_usize..3,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        let mut expected = Vec::new();
        for (n, content) in contents.iter().enumerate() {
            let mut content = content.clone().into_bytes();
            if let Format::Fixed(length) = format {
                content.truncate(content.len() / length * length.get());
            }
            if matches!(format, Format::Csv) && content.iter().filter(|b| **b == b'"').count() % 2 == 1 {
                content.push(b'"');
            }
            expected.extend(model(&format, &content, &delimiter));
            let stored = match (n + packed) % 3 {
                0 => content,
                1 => gzip(&content),
                _ => zstd::encode_all(&content[..], 1).unwrap(),
            };
            paths.push(write(folder.path(), &n.to_string(), &stored));
        }
        let splits = plan(&paths, format, size).unwrap();
        prop_assert_eq!(read_all(&splits).unwrap(), expected);
    }
}

#[test]
fn records_longer_than_a_block_and_blocks_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = vec![b'x'; BLOCK + 7];
    content.push(b'\n');
    content.extend((0..200_000).flat_map(|n: u32| format!("line {n}\n").into_bytes()));
    let path = write(folder.path(), "a", &content);
    let splits = Splits::plan(
        Inputs::list([&path]).unwrap(),
        Format::Lines,
        SplitSize::ForSlots(2),
        BLOCK * 2,
    )
    .unwrap();
    let records = read_all(&splits).unwrap();
    assert_eq!(records.len(), 200_001);
    assert_eq!(records[200_000], b"line 199999");
}

#[test]
fn a_record_over_the_limit_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = b"ab\n".to_vec();
    content.extend(vec![b'x'; 3 << 20]);
    content.push(b'\n');
    let path = write(folder.path(), "long", &content);
    let expected = InputError::RecordTooLong { path: path.clone(), offset: 3, max: 1 << 20 };
    assert_eq!(
        read_all(&plan(std::slice::from_ref(&path), Format::Lines, 64 << 20).unwrap()),
        Err(expected)
    );
    // And one that fits a block.
    let splits = Splits::plan(
        Inputs::list([&write(folder.path(), "b", b"1\n12345\n")]).unwrap(),
        Format::Lines,
        SplitSize::Bytes(99),
        4,
    );
    let error = read_all(&splits.unwrap()).unwrap_err();
    assert!(matches!(error, InputError::RecordTooLong { offset: 2, max: 4, .. }), "{error}");
}

#[test]
fn damaged_archives_are_told_with_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..20_000_u64)
        .flat_map(|n| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes())
        .collect();
    // As the command writes it: with a checksum, without which zstd can't tell a flipped literal.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&content).unwrap();
    let zst = encoder.finish().unwrap();
    for (name, whole) in [("a.gz", gzip(&content)), ("b.zst", zst)] {
        let path = write(folder.path(), name, &whole[..whole.len() / 2]);
        let error = read_all(&plan(std::slice::from_ref(&path), Format::Lines, 1 << 20).unwrap())
            .unwrap_err();
        let InputError::Damaged { path: told, offset, .. } = error else { panic!("{error}") };
        assert_eq!(told, path);
        assert!(offset > 0 && offset < content.len() as u64, "{name}: {offset}");
        let mut flipped = whole.clone();
        let middle = whole.len() / 2;
        flipped[middle] ^= 0x55;
        write(folder.path(), name, &flipped);
        let read = read_all(&plan(&[path], Format::Lines, 1 << 20).unwrap());
        assert!(matches!(read, Err(InputError::Damaged { .. })), "{name}: a flipped bit");
    }
    let error = Inputs::list([write(folder.path(), "c.gz", b"plain")]).unwrap_err();
    assert!(matches!(error, InputError::NotPacked { packing: "gzip", .. }), "{error}");
}

#[test]
fn several_members_are_one_content() {
    let folder = tempfile::tempdir().unwrap();
    let two = [gzip(b"a\nb"), gzip(b"c\n")].concat();
    let splits = plan(&[write(folder.path(), "x", &two)], Format::Lines, 1).unwrap();
    assert_eq!(read_all(&splits).unwrap(), [b"a".to_vec(), b"bc".to_vec()]);
}

#[test]
fn what_is_wrong_is_known_before_work_starts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("d")).unwrap();
    write(folder.path(), "d/b.txt", b"");
    write(folder.path(), "d/a.txt", b"a");
    write(folder.path(), "we[i]rd*", b"w");
    let listed = Inputs::list([at("d/*.txt"), at("we[i]rd*")]).unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.path(0), at("d/a.txt"));
    assert_eq!(listed.path(2), at("we[i]rd*"));
    assert_eq!(Inputs::list([at("**/*")]).unwrap().len(), 3);
    assert!(matches!(Inputs::list([at("*.none")]), Err(InputError::NoMatch { .. })));
    assert!(matches!(Inputs::list([at("none")]), Err(InputError::NoMatch { .. })));
    assert!(matches!(Inputs::list([at("***")]), Err(InputError::BadPattern { .. })));
    assert!(matches!(Inputs::list([at("d")]), Err(InputError::NotAFile { .. })));
    std::os::unix::fs::symlink("nowhere", at("d/dead")).unwrap();
    let error = Inputs::list([at("d/*")]).unwrap_err();
    assert!(matches!(error, InputError::Unreadable { .. }), "{error}");
    assert!(Format::delimited(b"").is_err() && Format::fixed(0).is_err());
}

#[test]
fn ends_that_are_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "f", b"abcdefgh");
    let error = read_all(&plan(std::slice::from_ref(&path), Format::fixed(3).unwrap(), 5).unwrap())
        .unwrap_err();
    assert_eq!(error, InputError::Ragged { path, offset: 6, left: 2, length: 3 });
    let path = write(folder.path(), "q", b"a,\"b\nc\"\nd,\"e\nf\n");
    let error = read_all(&plan(std::slice::from_ref(&path), Format::Csv, 4).unwrap()).unwrap_err();
    assert_eq!(error, InputError::OpenQuote { path, offset: 8 });
    let path = write(folder.path(), "s", b"a\nb\nc\n");
    let splits = plan(std::slice::from_ref(&path), Format::Lines, 2).unwrap();
    write(folder.path(), "s", b"a\nb");
    assert!(matches!(read_all(&splits), Err(InputError::Shrunk { .. })));
}

#[test]
fn a_stream_is_cut_into_blocks_too() {
    let text: Vec<u8> = (0..300_000).flat_map(|n: u32| format!("{n}\n").into_bytes()).collect();
    let reader = Box::new(std::io::Cursor::new(text.clone()));
    let mut blocks = Blocks::of_stream(reader, Path::new("<stdin>"), &Format::Lines, 1 << 20);
    let mut seen = Vec::new();
    while let Some(block) = blocks.read().unwrap() {
        assert_eq!(block.offset, seen.len() as u64);
        assert_eq!(block.bytes.last(), Some(&b'\n'));
        seen.extend_from_slice(block.bytes);
    }
    assert_eq!(seen, text);
}

/// M8: at most 100 bytes a split, for one large file and for many small ones.
#[test]
fn a_hundred_thousand_splits_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    std::fs::File::create(&path).unwrap().set_len(100_000 * 4096).unwrap();
    let one = plan(&[path], Format::Lines, 4096).unwrap();
    assert_eq!(one.count(), 100_000);
    assert!(one.memory() < 1024, "{}", one.memory());
    let small = write(folder.path(), "a-name-of-usual-length.txt", b"x\n");
    let many = Inputs::list(std::iter::repeat_n(&small, 20_000)).unwrap();
    let splits = Splits::plan(many, Format::Lines, SplitSize::Bytes(2), 1 << 20).unwrap();
    assert_eq!(splits.count(), 20_000);
    assert!(splits.memory() <= 20_000 * 100, "{}", splits.memory());
}
