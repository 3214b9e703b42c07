//! `--results DIR`: what each job said, in files named after its values: `DIR/1/VALUE/2/VALUE/stdout`, as GNU parallel names them.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::MapError;

/// Makes a job's folder with its `seq`, and opens its `stdout` and `stderr`.
pub(crate) fn open(
    folder: &Path,
    names: &[Vec<u8>],
    values: &[Vec<u8>],
    seq: u64,
) -> Result<(File, File), MapError> {
    let folder = place(folder, names, values, seq);
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| MapError::File { what: "results", path, source }
    };
    std::fs::create_dir_all(&folder).map_err(fail(&folder))?;
    let number = folder.join("seq");
    std::fs::write(&number, seq.to_string()).map_err(fail(&number))?;
    let stream = |name: &str| {
        let path = folder.join(name);
        // Appending: what a job's processes write in turn never overwrites.
        let emptied = File::create(&path);
        let opened = emptied.and_then(|_| File::options().read(true).append(true).open(&path));
        opened.map_err(fail(&path))
    };
    Ok((stream("stdout")?, stream("stderr")?))
}

fn place(folder: &Path, names: &[Vec<u8>], values: &[Vec<u8>], seq: u64) -> PathBuf {
    let mut place = folder.to_owned();
    if values.is_empty() {
        place.push(seq.to_string());
    }
    for (index, value) in values.iter().enumerate() {
        match names.get(index) {
            Some(name) => place.push(escaped(name)),
            None => place.push((index + 1).to_string()),
        }
        place.push(escaped(value));
    }
    place
}

/// A name that is one folder's, for any value.
fn escaped(value: &[u8]) -> OsString {
    let mut name = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'\\' => name.extend_from_slice(b"\\\\"),
            b'/' => name.extend_from_slice(b"\\_"),
            b'\t' => name.extend_from_slice(b"\\t"),
            byte => name.push(*byte),
        }
    }
    match &name[..] {
        b"" => "\\0".into(),
        b"." => "\\.".into(),
        b".." => "\\.\\.".into(),
        _ => OsString::from_vec(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_leaves_the_folder() {
        let values = [b"a/b".to_vec(), b"..".to_vec(), b"".to_vec(), b"x y".to_vec()];
        let found = place(Path::new("/r"), &[b"first".to_vec()], &values, 1);
        assert_eq!(found, Path::new("/r/first/a\\_b/2/\\.\\./3/\\0/4/x y"));
        assert_eq!(place(Path::new("/r"), &[], &[], 7), Path::new("/r/7"));
    }
}
