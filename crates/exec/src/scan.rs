//! Secrets in what a program says, by their shape: keys and tokens whose makers gave them one. What was found is a word; the secret
//! itself goes nowhere but where the output goes.

use std::sync::OnceLock;

use regex::bytes::RegexSet;

/// Shapes, by what they are called in records. Each begins with letters of its own, so that output without them is only searched for
/// those, and is shorter than [`TAIL`].
const SHAPES: [(&str, &str); 6] = [
    ("aws_key", "AKIA[0-9A-Z]{16}"),
    ("github_token", "gh[pousr]_[0-9A-Za-z]{36}"),
    ("google_key", "AIza[0-9A-Za-z_-]{35}"),
    ("private_key", "-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"),
    ("slack_token", "xox[abprs]-[0-9A-Za-z-]{20}"),
    ("stripe_key", "sk_live_[0-9A-Za-z]{24}"),
];
/// Bytes of the end of a block that are looked at again together with the next block's beginning.
const TAIL: usize = 64;

/// Looks at one output as it comes, whatever blocks it comes in.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    found: [bool; SHAPES.len()],
    tail: Vec<u8>,
}

impl Scan {
    /// The next block.
    pub(crate) fn see(&mut self, block: &[u8]) {
        if !self.tail.is_empty() {
            let mut seam = std::mem::take(&mut self.tail);
            seam.extend_from_slice(&block[..block.len().min(TAIL)]);
            self.look(&seam);
            self.tail = seam;
        }
        self.look(block);
        if block.len() >= TAIL {
            self.tail.clear();
            self.tail.extend_from_slice(&block[block.len() - TAIL..]);
        } else {
            // The seam has all of it; without one, the block is the beginning.
            if self.tail.is_empty() {
                self.tail.extend_from_slice(block);
            }
            let more = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..more);
        }
    }

    /// What was found, by name.
    pub(crate) fn found(&self) -> impl Iterator<Item = &'static str> {
        SHAPES.iter().zip(self.found).filter(|(_, found)| *found).map(|((name, _), _)| *name)
    }

    fn look(&mut self, bytes: &[u8]) {
        for at in shapes().matches(bytes) {
            self.found[at] = true;
        }
    }
}

fn shapes() -> &'static RegexSet {
    static SET: OnceLock<RegexSet> = OnceLock::new();
    SET.get_or_init(|| {
        let shapes = SHAPES.iter().map(|(_, shape)| format!("(?-u){shape}"));
        RegexSet::new(shapes).expect("the shapes are patterns: a test reads them")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example(at: usize) -> String {
        let long = |n: usize| "A1".repeat(n).chars().take(n).collect::<String>();
        match SHAPES[at].0 {
            "aws_key" => format!("AKIA{}", long(16)),
            "github_token" => format!("ghp_{}", long(36)),
            "google_key" => format!("AIza{}", long(35)),
            "private_key" => "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
            "slack_token" => format!("xoxb-{}", long(20)),
            _ => format!("sk_live_{}", long(24)),
        }
    }

    proptest! {
        /// However the output is cut into blocks, the same is found as in the whole; nothing else is.
        #[test]
        fn blocks_do_not_hide_a_secret(
            which in prop::collection::vec(0..SHAPES.len(), 0..3),
            before in 0usize..200,
            cuts in prop::collection::vec(1usize..90, 0..40),
        ) {
            let mut text = "x\n".repeat(before).into_bytes();
            for at in &which {
                text.extend_from_slice(format!("key = {}\n", example(*at)).as_bytes());
            }
            let (mut scan, mut rest) = (Scan::default(), &text[..]);
            for cut in cuts {
                let (block, more) = rest.split_at(cut.min(rest.len()));
                scan.see(block);
                rest = more;
            }
            scan.see(rest);
            let mut wanted: Vec<_> = which.iter().map(|at| SHAPES[*at].0).collect();
            wanted.sort_unstable();
            wanted.dedup();
            prop_assert_eq!(scan.found().collect::<Vec<_>>(), wanted);
        }
    }

    #[test]
    fn what_looks_like_it_is_none() {
        let mut scan = Scan::default();
        scan.see(
            b"AKIA is a prefix; -----BEGIN CERTIFICATE-----; ghp_short; -----BEGIN PUBLIC KEY-----",
        );
        assert_eq!(scan.found().count(), 0);
    }
}
