//! What a command is, and what the stage holds for it.

use std::iter::Chain;
use std::slice::Iter;

use super::{plain, tools};

/// PATH of whoever runs them, with ganger and without.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that machines may lack, and the Debian packages that bring them.
#[rustfmt::skip]
pub(super) const PACKAGES: [(&str, &str); 25] = [
    ("git", "git"), ("gcc", "gcc"), ("g++", "g++"), ("make", "make"), ("gdb", "gdb"), ("python3", "python3"), ("node", "nodejs"),
    ("jq", "jq"), ("sqlite3", "sqlite3"), ("curl", "curl"), ("openssl", "openssl"), ("ssh-keygen", "openssh-client"), ("gpg", "gpg"),
    ("xz", "xz-utils"), ("bzip2", "bzip2"), ("zstd", "zstd"), ("zip", "zip"), ("unzip", "unzip"), ("cpio", "cpio"),
    ("rsync", "rsync"), ("patch", "patch"), ("file", "file"), ("bc", "bc"), ("ed", "ed"), ("ps", "procps"),
];

/// One command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Those that somebody would choose for it.
    pub(super) profiles: &'static [&'static str],
    /// What is run, in the folder to write; `{…}` are the stage's.
    pub(super) command: &'static [&'static str],
    /// Further options of `ganger run` that it needs where nothing but the program is seen.
    pub(super) strict: &'static [&'static str],
    /// Further options in the other profiles.
    pub(super) more: &'static [&'static str],
    /// A file of the stage as its input.
    pub(super) input: Option<&'static str>,
    pub(super) code: i32,
    /// What it says.
    pub(super) says: &'static str,
    /// A file that it makes in the folder to write; none when empty.
    pub(super) makes: &'static str,
}

pub(super) const ALL: &[&str] = &["strict", "standard", "build"];
pub(super) const STRICT: &[&str] = &["strict"];
pub(super) const STANDARD: &[&str] = &["standard"];
pub(super) const BUILD: &[&str] = &["build"];
/// Where the machine's programs are there to be run by another one.
pub(super) const WHOLE: &[&str] = &["standard", "build"];

pub(super) const fn case(
    name: &'static str,
    profiles: &'static [&'static str],
    command: &'static [&'static str],
    says: &'static str,
) -> Case {
    Case { name, profiles, command, strict: &[], more: &[], input: None, code: 0, says, makes: "" }
}

impl Case {
    pub(super) const fn strict(self, strict: &'static [&'static str]) -> Self {
        Self { strict, ..self }
    }

    pub(super) const fn more(self, more: &'static [&'static str]) -> Self {
        Self { more, ..self }
    }

    pub(super) const fn input(self, name: &'static str) -> Self {
        Self { input: Some(name), ..self }
    }

    pub(super) const fn code(self, code: i32) -> Self {
        Self { code, ..self }
    }

    pub(super) const fn makes(self, makes: &'static str) -> Self {
        Self { makes, ..self }
    }
}

/// All of them.
pub(super) fn cases() -> Chain<Iter<'static, Case>, Iter<'static, Case>> {
    plain::CASES.iter().chain(tools::CASES)
}

/// What is in the folder to read.
#[rustfmt::skip]
pub(super) const FILES: [(&str, &str); 16] = [
    ("ro/words.txt", "pear\napple\nfig\nwalnut\napple\n"),
    ("ro/fruit.txt", "apple\nfig\npear\n"),
    ("ro/table.csv", "name,n\na,10\nb,32\n"),
    ("ro/data.json", r#"{"name":"ganger","list":[1,2,39]}"#),
    ("ro/sum.bc", "2^70\n"),
    ("ro/ed.txt", "2p\nq\n"),
    ("ro/fix.patch", "--- a/words.txt\n+++ b/words.txt\n@@ -1,2 +1,2 @@\n-pear\n+plum\n apple\n"),
    ("ro/c/main.c", "#include <stdio.h>\nint sum(int, int);\nint main(void) { printf(\"%d from C\\n\", sum(40, 2)); return 0; }\n"),
    ("ro/c/sum.c", "int sum(int a, int b) { return a + b; }\n"),
    ("ro/c/Makefile", "prog: main.o sum.o\n\t$(CC) -o $@ main.o sum.o\ncheck: prog\n\t./prog | grep -q 42 && echo all is well\n"),
    ("ro/hello.cc", include_str!("tools/hello.cc")),
    ("ro/hello.rs", "fn main() { let n: u32 = std::thread::spawn(|| (1..=8).sum()).join().unwrap(); println!(\"{n} from Rust\"); }\n"),
    ("ro/tool.py", include_str!("tools/tool.py")),
    ("ro/tool.js", include_str!("tools/tool.js")),
    ("ro/tool.sh", include_str!("tools/tool.sh")),
    ("ro/npm/package.json", r#"{"name":"x","version":"1.0.0","scripts":{"build":"node -e \"console.log('built by npm')\""}}"#),
];

/// Makes what takes programs to make.
pub(super) const SETUP: &str = include_str!("tools/setup.sh");
